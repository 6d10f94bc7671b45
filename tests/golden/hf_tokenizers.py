# SPDX-License-Identifier: MIT
#
# hf_tokenizers.py: small tokenizers of each kind, trained on the texts below, saved as the files that
# Hugging Face folders have, and in golden.json what their own libraries (tokenizers, transformers,
# sentencepiece) make of some texts. Beside each an embedding of as many rows, so that it is a folder
# that sherd opens.
#
#   hf_tokenizers.py FOLDER [NAME...]
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import sentencepiece
import transformers as tf
from safetensors.numpy import save_file
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

CORPUS = """
A sherd is a broken piece of pottery. Boards that are small hold pieces of a model, and together they
run it. The weights are read once for every token; what is read once should be read in place.
We don't know what you'll say, and she'd rather that I'm quiet; they've gone, he's here, it's ours.
In 1984 there were 256 kilobytes, in 2024 there are 16,384 megabytes: 64 times 1,048,576 bytes.
int main(void) { return printf("%d\\n", argc) < 0; }  // HelloWorld, XMLHttpRequest, camelCase
    if (x == 10) {
        y += 3.14159;
    }
Grüße aus Köln, où l'été est déjà fini; mañana será otro día. Größe, naïve, façade, coöperate.
Быстрая лиса прыгает через ленивую собаку. Η γρήγορη αλεπού. 敏捷的棕色狐狸跳过懒狗。 すばやい茶色の狐。
The quick brown fox jumps over the lazy dog. THE QUICK BROWN FOX! Is it? Yes -- it is (or was).
"""
TEXTS = [
    "", " ", "  ", "a", " a", "Hello, world!", "The quick brown fox jumps over the lazy dog.",
    "we don't, they'll, I'M, YOU'RE, it's 'twas", "12345678 1 22 333 3.14159 1,048,576",
    "  two  spaces   three ", "line\nline\n\nline\r\n\r\n\tindented\n", "\n\n\n\n", " \n \n",
    "HelloWorld XMLHttpRequest camelCase snake_case", "x+=1; if(a<=b){c->d[0]=*e;} // ok",
    "Gr\u00fc\u00dfe aus K\u00f6ln, o\u00f9 l'\u00e9t\u00e9", "cafe\u0301 A\u030a \u212b n\u0303", "\u0411\u044b\u0441\u0442\u0440\u0430\u044f \u043b\u0438\u0441\u0430",
    "\u654f\u6377\u7684\u68d5\u8272\u72d0\u72f8 \u3059\u3070\u3084\u3044", "\U0001f600\U0001f468\u200d\U0001f469 emoji",
    "tabs\tand\u00a0nbsp\u3000wide", "\u2581under\u2581score \u2581", "...!!!???---", "a\u0000b\u0007c",
    "\u0130stanbul \ufb01ne \u00bd \u2122", "ends with space ",
]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
ENDING = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + ENDING +
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + ENDING +
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def lines():
    return CORPUS.splitlines(keepends=True) * 3


def split(regex):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(regex), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level(pre, size=380, **kw):
    """BPE over bytes' letters, with a pre-tokenizer of its own."""
    t = Tokenizer(models.BPE(**kw))
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(lines(), trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return t


def frame(t, first):
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{first} $A", pair=f"{first} $A {first} $B",
                                      special_tokens=[(first, t.token_to_id(first))])])


def llama3():
    t = byte_level(split(LLAMA3), ignore_merges=True)
    t.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    frame(t, "<|begin_of_text|>")
    return tf.PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<|begin_of_text|>",
                                      eos_token="<|end_of_text|>")


def qwen2():
    t = byte_level(split(QWEN2))
    t.normalizer = normalizers.NFC()
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    return tf.PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<|im_end|>",
                                      pad_token="<|endoftext|>")


def named(pre, **kw):
    t = byte_level(pre, **kw)
    t.add_special_tokens(["<s>", "</s>"])
    frame(t, "<s>")
    return tf.PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>")


def tekken():
    return named(split(TEKKEN), ignore_merges=True)


def gpt4o():
    return named(split(GPT4O))


def starcoder():
    return named(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                          pre_tokenizers.ByteLevel(add_prefix_space=False)]))


def falcon():
    pre = pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
    return tf.PreTrainedTokenizerFast(tokenizer_object=with_end(byte_level(pre)),
                                      eos_token="<|endoftext|>")


def gptneox():
    t = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    t.normalizer = normalizers.NFC()
    return tf.PreTrainedTokenizerFast(tokenizer_object=with_end(t), eos_token="<|endoftext|>")


def with_end(t):
    t.add_special_tokens(["<|endoftext|>"])
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def opt():
    """GPT-2's BPE in its old files, with </s> at the beginning."""
    t = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    folder = Path(tempfile.mkdtemp())
    t.model.save(str(folder))
    special = dict(bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>")
    slow = tf.GPT2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"),
                            add_bos_token=True, **special)
    shutil.rmtree(folder)
    return slow


def spm(kind, **kw):
    """The bytes of a SentencePiece model."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line.strip() for line in lines()]), model_writer=out,
        model_type=kind, hard_vocab_limit=False, minloglevel=2, **kw)
    return out.getvalue()


def with_spm(data, make):
    folder = Path(tempfile.mkdtemp())
    (folder / "tokenizer.model").write_bytes(data)
    made = make(str(folder / "tokenizer.model"))
    made.keep = folder
    return made


LLAMA_SPM = dict(vocab_size=460, byte_fallback=True, normalization_rule_name="identity",
                 remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
                 split_digits=True, character_coverage=0.98)


def llama_spm():
    return with_spm(spm("bpe", **LLAMA_SPM), lambda f: tf.LlamaTokenizer(f, legacy=True))


def llama_fast():
    return with_spm(spm("bpe", **LLAMA_SPM), lambda f: tf.LlamaTokenizerFast(f, legacy=True))


def gemma_fast():
    data = spm("bpe", add_dummy_prefix=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
               pad_piece="<pad>", bos_piece="<bos>", eos_piece="<eos>",
               user_defined_symbols=["<start_of_turn>", "\n", "\n\n"], **LLAMA_SPM)
    return with_spm(data, tf.GemmaTokenizerFast)


def phi3():
    t = llama_fast()
    t.add_tokens([AddedToken("<|user|>", rstrip=True, special=True, normalized=False),
                  AddedToken("<|end|>", rstrip=True, special=True, normalized=False)])
    return t


def unigram():
    """With a few rules of normalization, so that their table is not larger than all the rest."""
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.write("FB01\t66 69\n3000\t20\n2122\t54 4D\n65 301\tE9\nA\t20\n9\t20\n")
        rules.flush()
        return spm("unigram", vocab_size=300, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
                   normalization_rule_tsv=rules.name)


def t5_spm():
    return with_spm(unigram(), lambda f: tf.T5Tokenizer(f, extra_ids=0, legacy=True))


def t5_fast():
    return with_spm(unigram(), lambda f: tf.T5TokenizerFast(f, extra_ids=0,
                                                               add_prefix_space=True))


def bert(lower):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=lower)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(lines(), trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=False))
    folder = Path(tempfile.mkdtemp())
    t.model.save(str(folder))
    return folder / "vocab.txt"


def bert_fast():
    return tf.BertTokenizerFast(str(bert(True)))


def bert_txt():
    return tf.BertTokenizerFast(str(bert(False)), do_lower_case=False)


def without_json(folder):
    (folder / "tokenizer.json").unlink()


def only_json(folder):
    (folder / "tokenizer.model").unlink(missing_ok=True)
    (folder / "spiece.model").unlink(missing_ok=True)


def rename_spm(folder):
    if (folder / "spiece.model").exists():
        (folder / "spiece.model").rename(folder / "tokenizer.model")


TOKENIZERS = [  # folder, how it is made, what is done to its files, special tokens in a text
    ("llama3", llama3, None, "<|begin_of_text|>hi<|eot_id|> there"),
    ("qwen2", qwen2, None, "<|im_start|>user\nhi<|im_end|>\n<tool_call> x"),
    ("tekken", tekken, None, "<s>[INST] hi</s>"),
    ("gpt-4o", gpt4o, None, "<s>hi</s>"),
    ("starcoder", starcoder, None, "<s>hi 12</s>"),
    ("falcon", falcon, None, "x 1234<|endoftext|>"),
    ("gptneox", gptneox, None, "x<|endoftext|> y"),
    ("opt", opt, None, "</s>hi</s>"),
    ("llama-spm", llama_spm, None, "</s>"),
    ("llama-json", llama_fast, only_json, "</s>"),
    ("gemma-json", gemma_fast, only_json, "<start_of_turn>hi\n\n\n<bos>"),
    ("phi3-json", phi3, only_json, "<|user|>\n hi<|end|>  \n"),
    ("t5-spm", t5_spm, rename_spm, "hi"),
    ("t5-json", t5_fast, only_json, "</s>"),
    ("bert-json", bert_fast, lambda f: (f / "vocab.txt").unlink(), "[CLS] hi [MASK]!"),
    ("bert-txt", bert_txt, without_json, "[CLS] hi [MASK]!"),
]


def make(folder, name, build, tidy, special):
    t = build()
    folder = folder / name
    shutil.rmtree(folder, ignore_errors=True)
    t.save_pretrained(folder)
    if tidy:
        tidy(folder)
    n = len(t)
    shape = dict(vocab_size=n, num_hidden_layers=1, hidden_size=2, intermediate_size=2,
                 num_attention_heads=1)
    (folder / "config.json").write_text(json.dumps(dict(model_type="llama", **shape)))
    save_file({"model.embed_tokens.weight": np.zeros((n, 1), np.float16)},
              folder / "model.safetensors")
    (folder / "model.safetensors").chmod(0o644)
    # U+2581 in a text is not told from a space at its end where spaces are merged
    texts = [x for x in TEXTS if "\u2581" not in x or not name.startswith("t5")] + [special]
    golden = [{"text": text, "ids": t(text)["input_ids"]} for text in texts]
    with open(folder / "golden.json", "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(g) for g in golden) + "\n]\n")
    print(f"{name:12} {n} tokens, {sum(f.stat().st_size for f in folder.iterdir())} bytes")


def main():
    only = sys.argv[2:]
    for row in TOKENIZERS:
        if not only or row[0] in only:
            make(Path(sys.argv[1]), *row)


main()
