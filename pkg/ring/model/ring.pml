/*
 * The ring: ring.go (TryPush, Close), pop.go (pop, passOn, PopBatch) and event.go, at the grain of
 * single atomic operations. Steps are sequentially consistent, as Go's sync/atomic promises. A plain
 * access (slot.val) is a step of its own, so an access that is not ordered by the atomics around it
 * shows as a wrong value.
 *
 * NP producers push NI items each, NC consumers pop in batches of B, CAP slots.
 *
 * Checked: no item popped twice or before its value was stored; with one consumer FIFO per producer;
 * ErrFull only when full, and open, at one moment of the call; never with a gate in front (-DGATE=1: at most CAP
 * credits, released after the pop); at the end every push that succeeded was popped, all consumers
 * have left after Close, or none is parked beside an item without Close.
 *
 * -DCLOSE=0|1   -DSTALL=0|1 consumers may never return from a batch   -DGATE=0|1
 * -DBUG=n seeds a mistake (see check.sh)
 */
#ifndef BUG
#define BUG 0
#endif
#define OK 0
#define FULL 1
#define CLOSED 2
#define RETRY 3

byte seq[CAP]; byte val[CAP];          /* slot.seq, slot.val */
byte tail = 0; bit closed = 0;         /* Ring.tail: one word, so always in one step */
byte head = 0;                         /* Ring.head */
byte W = 0; chan sem = [1] of { bit }; /* Ring.ready */
byte credits = CAP;                    /* Gate, as a counter (gate.pml has the real one) */

byte okpush = 0, popped = 0, pdone = 0, cleft = 0, stuck = 0;   /* ghosts */
byte seen[NP*NI+1]; byte last[NP];

/* event.notify */
inline notify() {
  if
  :: W > 0 -> atomic { if :: nfull(sem) -> sem!1 :: full(sem) -> skip fi }
  :: else -> skip
  fi
}

/* Ring.TryPush */
inline trypush(it) {
  r = RETRY;
  do
  :: r != RETRY -> break
  :: r == RETRY ->
     atomic { t = tail; c = closed; g = (tail - head == CAP) };   /* r.tail.Load(); ghost: full now? */
     if
     :: c -> r = CLOSED
     :: else ->
        s = seq[t % CAP];                                    /* s.seq.Load() */
        if
        :: s == t ->
           if                                                /* r.tail.CompareAndSwap(t, t+1) */
#if BUG == 7
           :: atomic { tail == t -> tail++ };                /* closed lives beside tail */
#else
           :: atomic { tail == t && !closed -> tail++ };
#endif
#if BUG == 1
              seq[t % CAP] = t + 1; val[t % CAP] = it;       /* published before the value is stored */
#else
              val[t % CAP] = it;                             /* s.val = v */
              seq[t % CAP] = t + 1;                          /* s.seq.Store(t + 1) */
#endif
              r = OK
           :: atomic { !(tail == t && (BUG == 7 || !closed)) -> skip }
           fi
        :: s < t ->
           if
#if BUG == 10
           :: r = FULL; assert(g)                            /* head is not looked at */
#else
           :: t - head == CAP -> r = FULL; assert(g)         /* r.head.Load() */
           :: else -> (seq[t % CAP] == t || closed || tail != t)   /* runtime.Gosched() */
#endif
           fi
        :: else -> skip                                      /* another producer has this position */
        fi
     fi
  od;
  if
  :: r == OK && BUG != 4 -> notify()                         /* r.ready.notify() */
  :: else -> skip
  fi;
  t = 0; s = 0; c = 0; g = 0
}

/* Ring.pop */
inline pop() {
  k = 0; drained = 0;
  do
  :: h = head; k = 0;                                        /* r.head.Load() */
     do
     :: k < B && seq[(h+k) % CAP] == h+k+1 -> k++            /* seq.Load() of each */
     :: else -> break
     od;
     if
     :: k == 0 ->
        atomic { t = tail; c = closed };                     /* r.tail.Load() */
        if
#if BUG == 9
        :: c -> drained = 1; break                           /* leaves behind what is claimed, not yet published */
#endif
        :: t == h && !(BUG == 9 && c) -> drained = c; break
        :: t != h && !(BUG == 9 && c) -> if :: head != h -> skip :: else -> break fi
        fi
     :: else ->
        if                                                   /* r.head.CompareAndSwap(h, h+k) */
        :: atomic { head == h -> head = h + k };
           j = 0;
           do
           :: j < k ->
#if BUG == 8
              seq[(h+j) % CAP] = h + j + CAP;                /* freed before it is read */
#endif
              v = val[(h+j) % CAP];
              val[(h+j) % CAP] = 0;                          /* dst[i], s.val = s.val, zero */
              d_step {
                assert(v != 0); seen[v]++; assert(seen[v] == 1); popped++;
                if :: NC == 1 -> assert(last[(v-1)/NI] < v); last[(v-1)/NI] = v :: else -> skip fi;
                v = 0
              };
#if BUG != 8
              seq[(h+j) % CAP] = h + j + CAP;                /* s.seq.Store(pos + cap) */
#endif
              j++
           :: else -> j = 0; break
           od;
           break
        :: atomic { head != h -> skip }
        fi
     fi
  od;
  h = 0; t = 0; c = 0
}

/* Ring.passOn; only who took a token owes it */
inline passOn() {
  if
  :: tok && W > 0 && BUG != 2 ->
     atomic { t = tail; c = closed };
     if :: t != head || (c && BUG != 6) -> notify() :: else -> skip fi;
     t = 0; c = 0
  :: else -> skip
  fi
}

proctype producer(byte id) {
  byte i = 0, t, s, r; bit c, g;
  do
  :: i < NI ->
     if :: GATE -> atomic { credits > 0 -> credits-- } :: else -> skip fi;   /* Gate.Reserve */
     trypush(id*NI + i + 1);
     if
     :: r == OK -> okpush++; i++
     :: r == FULL -> assert(!GATE); (tail - head < CAP || closed)   /* Push parks on room: park.pml */
     :: r == CLOSED -> if :: GATE -> credits++ :: else -> skip fi; break
     fi
  :: else -> break
  od;
  pdone++
}

/* Ring.PopBatch until ErrClosed */
proctype consumer() {
  byte k, h, t, j, v; bit c, drained, tok;
  do
  :: k = 0;
again:
     pop();
     if
     :: k == 0 && !drained ->
        W++;                                                 /* r.ready.announce() */
#if BUG != 5
        pop();
#endif
        if
        :: k == 0 && !drained -> sem?_; W--; tok = 1; goto again   /* r.ready.park, continue */
        :: else -> W--                                       /* r.ready.leave() */
        fi
     :: else -> skip
     fi;
     passOn(); tok = 0;
     if
     :: drained -> break
     :: !drained -> if :: GATE -> credits = credits + k :: else -> skip fi   /* Gate.Release */
     :: !drained && STALL -> atomic { stuck++; k = 0 }; goto out
     fi
  od;
  cleft++;
out: skip
}

/* Ring.Close */
proctype closer() { closed = 1; notify() }

init {
  byte i = 0;
  atomic {
    do :: i < CAP -> seq[i] = i; i++ :: else -> break od; i = 0;
    do :: i < NP -> run producer(i); i++ :: else -> break od; i = 0;
    do :: i < NC -> run consumer(); i++ :: else -> break od; i = 0;
    if :: CLOSE -> run closer() :: else -> skip fi
  };
  timeout ->
  assert(popped + (tail - head) == okpush);
  if
  :: stuck < NC -> assert(tail == head && pdone == NP)       /* nothing lies beside a parked one */
  :: else -> skip
  fi;
  if :: CLOSE -> assert(cleft + stuck == NC) :: else -> assert(cleft == 0) fi
}
