# SPDX-License-Identifier: MIT
# Trains the tokenizer (SentencePiece BPE) and the model for $BUDGET seconds on $T threads.
# Reads train.txt and test.txt, writes kd.model and kd.pt.
import torch,math,time,sys,os,numpy as np,sentencepiece as spm
import torch.nn as nn, torch.nn.functional as F
torch.manual_seed(1); torch.set_num_threads(int(os.environ.get('T','1')))
D='./'; V,dim,nl,nh,nkv,ff,ctx=4096,256,6,8,4,704,256
if not os.path.exists(D+'kd.model'):
    spm.SentencePieceTrainer.train(input=D+'train.txt',model_prefix=D+'kd',vocab_size=V,model_type='bpe',byte_fallback=True,character_coverage=0.9999,split_digits=True,add_dummy_prefix=True,normalization_rule_name='identity',unk_id=0,bos_id=1,eos_id=2,pad_id=-1,remove_extra_whitespaces=False,num_threads=2,max_sentence_length=16384)
sp=spm.SentencePieceProcessor(model_file=D+'kd.model')
def enc(f):
    ids=[]
    for doc in open(f).read().split('\n\n'):
        ids+= [1]+sp.encode(doc.strip('\n'))
    return torch.tensor(ids)
tr,te=enc(D+'train.txt'),enc(D+'test.txt'); print(len(tr),len(te),flush=True)
hd=dim//nh
inv=1.0/(10000**(torch.arange(0,hd,2).float()/hd)); fr=torch.outer(torch.arange(ctx).float(),inv); cos,sin=fr.cos(),fr.sin()
def rope(x): # x b,h,t,hd ; HF half-rotate
    c=torch.cat([cos,cos],-1)[:x.shape[2]]; s=torch.cat([sin,sin],-1)[:x.shape[2]]
    x1,x2=x[...,:hd//2],x[...,hd//2:]
    return x*c+torch.cat([-x2,x1],-1)*s
class RMS(nn.Module):
    def __init__(s,n): super().__init__(); s.weight=nn.Parameter(torch.ones(n))
    def forward(s,x): return x*torch.rsqrt(x.pow(2).mean(-1,keepdim=True)+1e-5)*s.weight
class Blk(nn.Module):
    def __init__(s):
        super().__init__(); L=lambda i,o: nn.Linear(i,o,bias=False)
        s.n1,s.n2=RMS(dim),RMS(dim); s.q,s.k,s.v,s.o=L(dim,dim),L(dim,hd*nkv),L(dim,hd*nkv),L(dim,dim); s.g,s.u,s.d=L(dim,ff),L(dim,ff),L(ff,dim)
    def forward(s,x):
        b,t,_=x.shape; h=s.n1(x)
        q=rope(s.q(h).view(b,t,nh,hd).transpose(1,2)); k=rope(s.k(h).view(b,t,nkv,hd).transpose(1,2)); v=s.v(h).view(b,t,nkv,hd).transpose(1,2)
        k=k.repeat_interleave(nh//nkv,1); v=v.repeat_interleave(nh//nkv,1)
        a=(q@k.transpose(-1,-2))/math.sqrt(hd); a=a.masked_fill(torch.ones(t,t,dtype=torch.bool).triu(1),-1e9).softmax(-1)
        a=F.dropout(a,0.05,s.training)
        x=x+s.o((a@v).transpose(1,2).reshape(b,t,dim)); h=s.n2(x)
        return x+F.dropout(s.d(F.silu(s.g(h))*s.u(h)),0.05,s.training)
class M(nn.Module):
    def __init__(s):
        super().__init__(); s.emb=nn.Embedding(V,dim); s.bl=nn.ModuleList([Blk() for _ in range(nl)]); s.nf=RMS(dim)
        for n,p in s.named_parameters():
            if p.dim()==2: nn.init.normal_(p,0,0.02/(math.sqrt(2*nl) if n.endswith(('.o.weight','.d.weight')) else 1))
    def forward(s,i):
        x=s.emb(i)
        for b in s.bl: x=b(x)
        return F.linear(s.nf(x),s.emb.weight)
m=M(); print(sum(p.numel() for p in m.parameters()),flush=True)
budget=float(os.environ.get('BUDGET','4800')); B=16; lr0=2e-3
opt=torch.optim.AdamW(m.parameters(),lr=lr0,betas=(0.9,0.95),weight_decay=0.1)
def evalp():
    m.eval(); tot=n=0
    with torch.no_grad():
        for i in range(0,min(len(te)-ctx-1,40*ctx),ctx):
            x=te[i:i+ctx][None]; y=te[i+1:i+ctx+1][None]; l=F.cross_entropy(m(x)[0],y[0],reduction='sum'); tot+=l.item(); n+=ctx
    m.train(); return math.exp(tot/n)
t0=time.time(); step=0
while True:
    el=(time.time()-t0)/budget
    if el>=1: break
    lr=lr0*min(1,(step+1)/100)*max(0.05,0.5*(1+math.cos(math.pi*min(1,el))))
    for g in opt.param_groups: g['lr']=lr
    ix=torch.randint(0,len(tr)-ctx-1,(B,)); x=torch.stack([tr[i:i+ctx] for i in ix]); y=torch.stack([tr[i+1:i+ctx+1] for i in ix])
    loss=F.cross_entropy(m(x).view(-1,V),y.view(-1)); opt.zero_grad(); loss.backward(); nn.utils.clip_grad_norm_(m.parameters(),1.0); opt.step()
    if step%25==0: print(step,round(loss.item(),3),round(time.time()-t0),flush=True)
    if step%400==0 and step: print('ppl',evalp(),flush=True); torch.save(m.state_dict(),D+'kd.pt')
    step+=1
torch.save(m.state_dict(),D+'kd.pt'); print('final',step,evalp(),flush=True)
