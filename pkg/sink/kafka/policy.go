package kafka

import (
	"math/rand/v2"
	"time"
)

// All patience of the delivery core: what waits, for how long, and what ends it early. What an operator is told, and when,
// stands in delivery.go; the bounds of one connection in network.go.
//
//	what                                 waits                           ended early by
//	partition: the next attempt          RetryMin, doubling to RetryMax, another leader; a refused stamp is followed at
//	                                     jitter; RetryMax where an       once by one more attempt under a new one
//	                                     operator must act
//	broker: a pause that it asks for     as long as it asks
//	broker: a larger request             growAfter, doubling its bytes   two cut connections halve them
//	topic: larger batches again          growAfter, doubling the bytes   one that is refused halves them
//	cluster: all is well                 MetadataTTL, jitter             a kick: wrong leaders, a new id, a topic
//	cluster: dead letters wait for       deadTopicEvery, jitter          a kick
//	their topic
//	cluster: something is missing        unreadyPoll 40 times, then      a kick
//	                                     refreshEvery
//	cluster: and no event waits          restShortest, doubling to       the first event
//	                                     restLongest, jitter
//	cluster: leaders are suspect         refreshEvery since the last
//	dead-letter topic: create it again   refreshEvery; deadTopicEvery
//	                                     after a refusal
//	topic or broker: ask for settings    refreshEvery, 3 more times
//	topic: fewer partitions              3 looks, refreshEvery apart     a look that tells of more
//	partition: it cannot move            stuckAfter                      an acknowledgement
//	appender: room in memory             patience… in spill.go, then     room
//	                                     batches go to disk
//	spool: open it, write after an error spoolRetry
//	spool: another process has it        busyPatience                    it is let go
//	spool: look at a disk that failed    diskLook after the last try     a write that succeeds
//	spool: a call that hangs             hangsAfter                      it comes back
//	spool: frames must be placed         placingPatience, then they are  the disk takes them
//	                                     carried in memory
//	spool: write down what has ended     cursorDelay, again after an     the next write
//	                                     error
//	end: Kafka                           until StowTime before the end   nothing is unsettled; Kafka was never reached
//	end: the disk                        StowTime, at least              it is done
//	                                     leastAtTheEnd without a deadline

// jittered is between a half and the whole of d: instances, brokers and partitions that failed together do not return
// together.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// doubling is the pause after the n-th failure in a row, from 1: first, doubled with each more up to most, jittered.
func doubling(n int, first, most time.Duration) time.Duration {
	return jittered(min(first<<min(n-1, 10), most))
}

// Of the cluster.
const (
	refreshEvery   = time.Second            // at most: thousands of instances may see the same leader move
	deadTopicEvery = 10 * time.Second       // while dead letters wait: between looks for their topic, and attempts to create it
	unreadyPoll    = 250 * time.Millisecond // while something is missing
	hurriedRounds  = 40                     // of unreadyPoll, then refreshEvery
	restShortest   = time.Second            // doubles with every look that fails
	restLongest    = 30 * time.Second

	// unansweredQuestions is how often a topic's timestamp type is asked for in vain until batches go without it. Until it is
	// known, what could be a collision counts as one.
	unansweredQuestions = 3
	questionPart        = 4 // of RequestTimeout: for a new broker's settings, for which batches wait
	moreQuestions       = 3 // when the first one is not answered
	// shrinkLooks is how often in a row a topic must have fewer partitions until that is believed.
	shrinkLooks = 3
	growAfter   = time.Minute // with answers, until a broker is sent larger requests again, or a topic larger batches
)

// Of partitions and appenders.
const (
	// stuckAfter is how long a partition fails until it counts as one that cannot move. A leader whose broker
	// died moves within broker.session.timeout.ms, 9 s by default; waiting for that costs nothing but memory.
	stuckAfter = 10 * time.Second
	// judgeEvery bounds how often a partition is judged while events come for it.
	judgeEvery = 20 * time.Millisecond
	// How long the buffers may be full until room is made on disk. Where clients wait for Kafka nothing must
	// have moved for the whole time: a disk that is written to at full load costs more than it helps.
	patienceNobodyWaits = 20 * time.Millisecond
	patienceForKafka    = 250 * time.Millisecond
	patienceOverflowing = 10 * time.Millisecond // with SettleOnKafka: once it has begun
)

// Of the spool.
const (
	busyPatience = 10 * time.Second // with a spool that another process has
	cursorDelay  = time.Second
	spoolRetry   = time.Second     // between attempts to open the spool, or to write to it after an error
	diskLook     = 2 * time.Second // after such an attempt, if none has followed, the disk itself is looked at
	// hangsAfter is how long a call of the disk may take until batches are sent without waiting for it.
	hangsAfter = time.Second
	// fastSync: a disk that answers sooner is not worth another goroutine's wake-up.
	fastSync = 100 * time.Microsecond
	// calmAfter is how long nothing has gone to disk, and nothing is left there, until the overflow is said to
	// be over.
	calmAfter = 5 * time.Second
	// placingPatience is how long a disk that fails or is full holds everything up while frames must be placed.
	placingPatience = 10 * time.Second
	quietPoll       = 20 * time.Millisecond // until all requests have ended, so that frames can be placed
	// How often ages are looked at: a tenth of the maximum age, within these bounds.
	minExpirePause = 100 * time.Millisecond
	maxExpirePause = 10 * time.Second
)

// Of the end.
const (
	lookForHope   = 50 * time.Millisecond // how often it is asked whether Kafka can still come
	leastAtTheEnd = 10 * time.Second      // what the disk has if Close has no deadline
)
