// Package decode walks over one telemetry delivery (a JSON array of events, one object, or NDJSON) and
// yields its events as views into the body: no copies, no allocations.
//
// # What comes out
//
// [Decoder.Next] yields events and bad regions in the order of the body. Every byte of the body is in
// exactly one event, in exactly one bad region, or is a separator (a blank, a comma between elements,
// the array's brackets, a byte order mark). So nothing is lost silently: what is wrong with a body comes
// out as a region with a [Reason] and the offset of the exact byte, and what is wrong but has no bytes of
// its own is counted in [Notes]. A region is never empty.
//
//	[{…},{…}]           two events
//	{…}                 one event
//	(nothing), []       no events
//	[{…}{…}]            two events, Notes.MissingCommas 1
//	[{…},,{…},]         two events, Notes.ExtraCommas 2
//	[{…},5,{…}]         event, region `5` not_object, event
//	[{…},{"a":1,},{…}]  event, region `{"a":1,}` bad_structure at its last byte, event
//	[{…}] x             event, region `x` trailing_data
//	[{…},{"a            event, region `{"a` truncated
//	[{…}                event, Notes.Unclosed
//	[,,]                region `[,,]` bad_structure: no other trace of the body would be left
//	[                   region `[` truncated, for the same reason
//	hello               region `hello` bad_value
//
// Any syntactically valid object is a good element, {} included; any other value is not_object. A body
// that begins with an object may go on with more of them, also without commas. In NDJSON each line is
// on its own: whatever is wrong with it ends with it. A line may be an array of objects, and behind the end of an array
// another one may begin on a line of its own.
//
// # Strict and lenient
//
// Strict (the default) yields valid JSON only, by RFC 8259 and in UTF-8: no raw control bytes in strings,
// legal escapes only, in keys and nested values too. A lone surrogate escape (\ud800) is legal JSON and
// passes. Lenient lets pass, unchanged and only inside strings: control bytes, illegal escapes, invalid
// UTF-8. Both refuse more than [MaxDepth] levels. The accept sets do not depend on the build.
//
// # The fields
//
// Keys and names are compared without regard to case and to blanks around them, metrics may be called
// reportMetrics, and one name may end with a comma: all of this is printed in the platform's reference.
// Of equal keys the last one counts.
//
// # How
//
// One pass in Go owns the structure. What the platform's events look like (keys, names, times, ids,
// numbers) is recognised by compares of whole words; a string's end is found, and its content checked,
// 64 bytes a step with AVX2 on amd64, elsewhere 8. In lenient mode sonic's Skip takes strings with
// forbidden bytes and nested values; in both modes its Validate checks what is not ASCII. All of it is only ever asked
// whether something is good: whatever is not is looked at once more by one plain scanner, which alone
// decides about offsets and reasons. Native calls are bounded to 64 KiB, for they cannot be preempted, and
// get no fewer than 8 bytes (see skip_sonic.go).
//
// Behind a bad element the body goes on where a run of good values begins that reaches the end of the array, or the
// next bad element (search.go). So a lost or doubled quote, brace, bracket or any other byte costs its own element
// only. An object inside a container that closes before the array does is a piece of the bad element and stays
// in its region. One case cannot be told: an element cut off inside an array of objects, whose objects then look
// like the elements that follow. They come out as events, because an event too many is better than one too few. The
// bytes looked at are bounded by a multiple of the body; when they are used up, the rest is one region.
//
// The build tag nosonic leaves out sonic, purego also the assembly; so do other architectures, and sonic from Go 1.28
// on.
package decode
