# SPDX-License-Identifier: MIT
# kd.pt as a Hugging Face folder and as GGUF files, f32 and f16 (q and k rows permuted to the
# interleaved order that GGUF's llama files use).
import sentencepiece as spm
import sys
import torch,json,struct,numpy as np,os,gguf
D='./'; O='kdoc-5m/'; os.makedirs(O,exist_ok=True)
sd=torch.load(D+'kd.pt'); V,dim,nl,nh,nkv,ff,ctx=4096,256,6,8,4,704,256
m={'model.embed_tokens.weight':sd['emb.weight'],'model.norm.weight':sd['nf.weight']}
nm={'n1':'input_layernorm','n2':'post_attention_layernorm','q':'self_attn.q_proj','k':'self_attn.k_proj','v':'self_attn.v_proj','o':'self_attn.o_proj','g':'mlp.gate_proj','u':'mlp.up_proj','d':'mlp.down_proj'}
for i in range(nl):
    for a,b in nm.items(): m[f'model.layers.{i}.{b}.weight']=sd[f'bl.{i}.{a}.weight']
m={k:v.detach().float().numpy().astype(np.float32) for k,v in m.items()}
# safetensors
hdr={};off=0
for k,v in m.items(): hdr[k]={'dtype':'F32','shape':list(v.shape),'data_offsets':[off,off+v.nbytes]}; off+=v.nbytes
hdr['__metadata__']={'format':'pt'}
h=json.dumps(hdr).encode(); h+=b' '*((8-len(h)%8)%8)
with open(O+'model.safetensors','wb') as f:
    f.write(struct.pack('<Q',len(h))); f.write(h)
    for v in m.values(): f.write(v.tobytes())
json.dump({'architectures':['LlamaForCausalLM'],'model_type':'llama','hidden_size':dim,'intermediate_size':ff,'num_hidden_layers':nl,'num_attention_heads':nh,'num_key_value_heads':nkv,'vocab_size':V,'max_position_embeddings':ctx,'rms_norm_eps':1e-5,'rope_theta':10000.0,'hidden_act':'silu','tie_word_embeddings':True,'bos_token_id':1,'eos_token_id':2,'torch_dtype':'float32'},open(O+'config.json','w'),indent=1)
os.system(f'cp {D}kd.model {O}tokenizer.model')
sp=spm.SentencePieceProcessor(model_file=D+'kd.model')
def gg(path,ft):
    w=gguf.GGUFWriter(path,'llama'); w.add_name('kdoc-5m'); w.add_context_length(ctx); w.add_embedding_length(dim); w.add_block_count(nl); w.add_feed_forward_length(ff); w.add_head_count(nh); w.add_head_count_kv(nkv); w.add_rope_dimension_count(dim//nh); w.add_layer_norm_rms_eps(1e-5); w.add_rope_freq_base(10000.0); w.add_file_type(0 if ft==np.float32 else 1); w.add_vocab_size(V)
    t=[];s=[];ty=[]
    for i in range(V):
        t.append(sp.id_to_piece(i).encode()); s.append(float(sp.get_score(i))); ty.append(2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1)
    w.add_tokenizer_model('llama'); w.add_token_list(t); w.add_token_scores(s); w.add_token_types(ty); w.add_bos_token_id(1); w.add_eos_token_id(2); w.add_unk_token_id(0); w.add_add_bos_token(True)
    def perm(a,n): return a.reshape(n,2,a.shape[0]//n//2,a.shape[1]).swapaxes(1,2).reshape(a.shape)
    def add(n,a): w.add_tensor(n, a if a.ndim==1 else np.ascontiguousarray(a.astype(ft)))
    add('token_embd.weight',m['model.embed_tokens.weight']); add('output_norm.weight',m['model.norm.weight'])
    for i in range(nl):
        p=f'model.layers.{i}.'; b=f'blk.{i}.'
        add(b+'attn_norm.weight',m[p+'input_layernorm.weight']); add(b+'ffn_norm.weight',m[p+'post_attention_layernorm.weight'])
        add(b+'attn_q.weight',perm(m[p+'self_attn.q_proj.weight'],nh)); add(b+'attn_k.weight',perm(m[p+'self_attn.k_proj.weight'],nkv)); add(b+'attn_v.weight',m[p+'self_attn.v_proj.weight']); add(b+'attn_output.weight',m[p+'self_attn.o_proj.weight'])
        add(b+'ffn_gate.weight',m[p+'mlp.gate_proj.weight']); add(b+'ffn_up.weight',m[p+'mlp.up_proj.weight']); add(b+'ffn_down.weight',m[p+'mlp.down_proj.weight'])
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
gg(O+'kdoc-5m-f32.gguf',np.float32); gg(O+'kdoc-5m-f16.gguf',np.float16)
