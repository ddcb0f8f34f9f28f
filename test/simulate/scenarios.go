package simulate

import "functiongraph-ingest/pkg/sink/kafka"

const (
	onKafka = 1 + int(kafka.SettleOnKafka)
	onDisk  = 1 + int(kafka.SettleOnDisk)
	atOnce  = 1 + int(kafka.SettleAtOnce)

	noSpool  = 1
	hasSpool = 2
)

// steady are the families of every day. fullDisk and deadLetters have scenarios of their own.
const steady = lostAnswers | lateCopies | earlyCodes | lateCodes | moves | outages | anew | slowDisk | kills | powerLoss | restarts

// scenarios are narrow worlds, in which seeds find a kind of fault soon. Those whose first schedules have no
// violation stand in the Makefile (MENDED) and are part of `make test`; in all those named after a fault, commit 9a2bdb0 broke the promise.
var scenarios = []scenario{
	{name: "steady", fault: "the troubles of every day",
		may: steady},
	{name: "durable", fault: "the same with --ack=disk and processes that are killed",
		must: kills | lostAnswers, may: steady, settle: onDisk, spool: hasSpool},
	{name: "power", fault: "the same on a slow disk that loses power",
		must: powerLoss | slowDisk, may: steady, settle: onDisk, spool: hasSpool},
	{name: "memory", fault: "the same without a spool",
		must: lostAnswers, may: steady, settle: onKafka, spool: noSpool},
	{name: "recognised", fault: "troubles beside which every resend is recognised: nothing comes twice",
		must: lostAnswers, may: recognised},
	{name: "late-spool", fault: "core F1: a producer's sequence is begun again when the spool is opened late",
		must: lateSpool | kills | lostAnswers | outages, may: moves, settle: onDisk, spool: hasSpool},
	{name: "late-frames", fault: "the same in one partition, for longer, where answers do not give away that they are about another batch",
		must: lateSpool | kills | lostAnswers, settle: onDisk, spool: hasSpool, narrow: true, appendTime: true},
	{name: "refused-resend", fault: "core F2: the sequence of a refused resend is given to the next batch",
		must: lostAnswers | clocks | limits, may: contents | lateCodes, settle: onKafka, spool: noSpool},
	{name: "other-cluster", fault: "core F3: an old stamp is a duplicate in another cluster",
		must: otherCluster | lostAnswers | kills, may: moves, settle: onDisk, spool: hasSpool},
	{name: "big-events", fault: "core F7: large events never go to disk",
		must: bigEvents | outages, may: restarts, spool: hasSpool},
	{name: "full-disk", fault: "core F8: after one full write the spool is never used again",
		must: fullDisk | outages, may: lateCluster, spool: hasSpool},
	{name: "drops", fault: "frames are dropped for want of room while they are placed: dropped and delivered",
		must: fullDisk | lateCluster | drops, may: outages | kills, spool: hasSpool},
	{name: "squeezed", fault: "core F9: frames without a partition and a disk below --spool-keep-free",
		must: squeezed | lateCluster, may: kills, spool: hasSpool},
	{name: "growth", fault: "core F10: order across growth with frames on disk",
		must: growth | outages, may: moves, spool: hasSpool},
	{name: "growth-kills", fault: "order across growth and a kill: the next process places by the new count before frames by the old one",
		must: growth | outages | kills, may: moves, settle: onDisk, spool: hasSpool},
	{name: "late-codes", fault: "core F14: possibleDuplicates too low after a code that means appended",
		must: lateCodes | limits, may: lostAnswers, spool: noSpool},
	{name: "busy-loop", fault: "core F13: sources that wait for room keep the spooler awake",
		must: fullDisk | outages | deadLetters, may: moves, spool: hasSpool},
	{name: "fewer-partitions", fault: "core E.5: a topic made anew with fewer partitions",
		must: fewer, may: moves},
	{name: "refused-content", fault: "sources wait beside an empty disk while a batch is taken apart",
		must: contents | limits | lostAnswers, may: outages, spool: hasSpool},
	{name: "refused-restarts", fault: "the same, and processes that end meanwhile",
		must: contents | lostAnswers, may: kills | restarts | powerLoss | moves | outages | limits | lateCopies | deadLetters, spool: hasSpool},
	{name: "leaderless", fault: "a partition without a leader: all others go on",
		must: moves | outages, may: steady | lateCluster | deadLetters, lasting: true},
	{name: "no-dead-topic", fault: "a refused record beside a dead-letter topic that cannot be used stops its partition",
		must: contents | noDeadTopic, may: kills | powerLoss | restarts | moves | outages | lostAnswers | limits | deadLetters | slowDisk | fullDisk, spool: hasSpool, lasting: true},
	{name: "no-way-out", fault: "the part behind one that waits for its dead letters holds up all sources",
		must: contents | noDeadTopic | fullDisk | moves, may: kills | powerLoss | restarts | outages | lostAnswers | limits | deadLetters | slowDisk, spool: hasSpool, lasting: true},
	{name: "late-letters", fault: "the share of dead letters is full of batches in doubt before frames on disk: it never empties",
		must: lateSpool | contents | noDeadTopic | moves, may: deadLetters | kills | lostAnswers | limits | outages | fullDisk | lateCluster, spool: hasSpool, lasting: true},
	{name: "carried", fault: "frames that are carried beside a partition that cannot move stop all topics",
		must: lateCluster | fullDisk | moves, may: kills | contents | noDeadTopic | deadLetters, spool: hasSpool, topics: 2, lasting: true},
	{name: "carried-fewer", fault: "what is carried in memory waits for partitions that are no more",
		must: lateCluster | fullDisk | fewer, may: moves | lostAnswers | kills, spool: hasSpool, lasting: true},
	{name: "split-fewer", fault: "a batch that is taken apart keeps its topic from having fewer partitions",
		must: contents | fewer | outages, may: limits | lostAnswers | noDeadTopic | moves | kills | fullDisk, settle: onDisk, spool: hasSpool, lasting: true},
	{name: "few-entries", fault: "what is placed takes more entries of the spool's index than there are",
		must: lateCluster, may: lostAnswers | outages | kills, spool: hasSpool, frames: 28},
	{name: "leaderless-topics", fault: "a partition without a leader: those of all topics go on",
		must: moves | outages, may: steady | lateCluster | deadLetters, topics: 3, lasting: true},
	{name: "damage", fault: "what follows a frame that the disk has damaged takes its place",
		must: damage | outages, may: lostAnswers | moves | slowDisk | contents | lateCluster | deadLetters | growth | fewer | fullDisk | bigEvents, spool: hasSpool},
	{name: "clones", fault: "another process writes under the same producer id, after a snapshot was restored",
		must: clones | lostAnswers, may: moves | outages},
	{name: "behind", fault: "the end of a frame is not noted before batches that have none",
		must: outages | kills, settle: atOnce, spool: hasSpool, narrow: true, quick: true},
	{name: "topics", fault: "three main topics, of which some are missing at first: no event is in another topic than its own",
		may: steady, topics: 3},
	{name: "topics-durable", fault: "the same with a spool and processes that are killed",
		must: kills | outages, may: steady, settle: onDisk, spool: hasSpool, topics: 3},
	{name: "few", fault: "two to four troubles at once, of all that there are", few: true},
	{name: "forgotten", fault: "copies after the brokers have forgotten the producer",
		must: forgotten | lostAnswers, may: moves | outages | deadLetters},
}
