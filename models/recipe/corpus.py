# SPDX-License-Identifier: MIT
# The training and the held-out text: prose paragraphs of the kernel's documentation as Debian's
# linux-doc-6.1 installs it (every twentieth file is held out). Writes train.txt and test.txt.
import glob,gzip,re,random,os
root='/usr/share/doc/linux-doc-6.1/Documentation'
fs=[f for f in glob.glob(root+'/**/*.rst*',recursive=True) if '/translations/' not in f and '/ABI/' not in f]
fs+= [f for f in glob.glob(root+'/**/*.txt*',recursive=True) if '/translations/' not in f and '/devicetree/' not in f]
fs=sorted(set(fs)); random.Random(1).shuffle(fs)
tr=[];te=[]
for i,f in enumerate(fs):
    try: t=(gzip.open(f,'rt',errors='strict').read() if f.endswith('.gz') else open(f).read())
    except Exception: continue
    # prose paragraphs only: drop directives, tables, code blocks
    out=[]
    for para in re.split(r'\n\s*\n',t):
        if re.search(r'[=\-~^"*#+|]{4,}|::|\t\t|^\.\. |[{};<>]|\\',para,re.M): continue
        lines=[l.strip() for l in para.split('\n')]
        p=' '.join(lines).strip()
        if len(p)<80 or not p[0].isalpha() or p[-1] not in '.:!?': continue
        p=re.sub(r'``?([^`]*)``?',r'\1',p); p=re.sub(r':\w+:','',p); p=re.sub(r'\s+',' ',p)
        if sum(c.isalpha() or c==' ' for c in p)/len(p)<0.9: continue
        out.append(p)
    if len(out)<2: continue
    (te if i%20==0 else tr).append('\n'.join(out)+'\n')
open('train.txt','w').write('\n'.join(tr)); open('test.txt','w').write('\n'.join(te))
print(len(tr),len(te),os.path.getsize('train.txt'),os.path.getsize('test.txt'))
