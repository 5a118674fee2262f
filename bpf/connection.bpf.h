/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/* The connections of the syscalls source, and which of their requests are left out. */
#ifndef CONNECTION_BPF_H
#define CONNECTION_BPF_H

#include "sample.bpf.h"
#include "request.bpf.h"

enum connection_state {
	UNKNOWN = 0,
	CLIENT = 1,
	IGNORED = 2,	/* not a client: a file, a pipe, a connection to elsewhere */
};

/*
 * How sure it is that the server is about to read a whole new request, and that the
 * recorder waits for nothing: only then can a request be left out unnoticed.
 *
 * A read that asks for the whole buffer is one of a command, or else one of a value
 * that the server throws away, which may look like a command. The latter has no
 * reply before the value's end, where commands begin again.
 */
enum step {
	UNCLEAR = 0,
	LOOKS_CLEAR = 1,	/* the last read looked like one request: a reply will prove it */
	OPEN = 2,		/* the last read was one request, and recorded: without a reply
				   it is open until the next read is recorded too */
	READY = 3,
	SKIPPING = 4,		/* the last read was one request, and left out, as its reply is */
};

#define COMMAND 16384	/* READ_BUFFER_SIZE: what a command read asks for */

#define OWNER(state, inode) ((__u64)(inode) << 32 | (state))
#define STATE_OF(owner) ((__u32)(owner))
#define INODE_OF(owner) ((__u32)((owner) >> 32))

struct connection {
	__u64 owner;		/* OWNER */
	__u32 sequence;
	__u8 step;		/* enum step */
	__u8 protocol;		/* enum protocol, of the last request that was recognised */
	bool beyond_claims;	/* without atomics: no claim to it can be made */
	__u64 socket;		/* the kernel's struct sock, once it is known to be the owner's */
	__u64 long_buffer;	/* where a get line too long for the usual buffer was seen */
	/* What the next send goes on with, where that is not the beginning of a reply: */
	__u32 head_left;	/* bytes that are no value, */
	__u32 value_left;	/* and then so many of a value */
};

/* By file descriptor; sized by the target's descriptor limit before loading.
 * One thread at a time works on a connection. But the end of a close may be seen
 * after, or at the same time as, the accept that reuses its descriptor: state and
 * inode are one word, so that one of the two ends the old connection (lifetime.bpf.h). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct connection);
} connections SEC(".maps");

static __always_inline struct connection *connection_of(__u32 descriptor)
{
	return bpf_map_lookup_elem(&connections, &descriptor);
}

/*
 * A long read goes either into the memory of a value or into the buffer for a
 * get line too long for the usual one. That buffer has a power of two of bytes
 * and holds the line from its beginning; the read asks for what is left of it.
 * What was sent right after the line goes there too.
 */
static __always_inline bool is_long_get(struct connection *connection, __u64 buffer, __u64 asked)
{
	enum { ALIGNMENT = 16 };	/* of allocated memory */

	for (__u64 shift = 15; shift <= 24; shift++) {
		__u64 start = buffer + asked - (1ULL << shift);
		char line[8];
		__u32 spaces;

		if (asked > (1ULL << shift) || start % ALIGNMENT)
			continue;
		if (start == connection->long_buffer)
			return true;
		if (bpf_probe_read_user(line, sizeof(line), (const void *)start))
			continue;
		/* memcached skips spaces before the command. */
		for (spaces = 0; spaces < sizeof(line) && line[spaces] == ' '; spaces++)
			;
		if (spaces == sizeof(line) || (spaces && line[spaces] == 'g') ||
		    (line[0] == 'g' && line[1] == 'e' && line[2] == 't' &&
		     (line[3] == ' ' || line[3] == 's'))) {
			connection->long_buffer = start;
			return true;
		}
	}
	return false;
}

/*
 * Whether the read that returned is one request on a key outside of the sample that
 * can be left out. The sample is looked at once: that instant counts as the
 * request's.
 */
static __always_inline bool is_left_out(struct connection *connection, __u64 buffer, __u64 length,
					__u64 asked, __u32 limit)
{
	enum step before = connection->step;
	enum protocol protocol;
	struct request *request;
	bool wanted;

	connection->step = UNCLEAR;
	if (asked != COMMAND)
		return false;
	protocol = recognise(buffer, length);
	request = request_here();
	if (protocol == NO_PROTOCOL || !request)
		return false;
	if (connection->protocol != protocol) {
		if (connection->protocol != NO_PROTOCOL || before != READY)
			before = UNCLEAR;
		connection->protocol = protocol;
	}
	wanted = is_in_sample(request->hash, limit);
	switch (before) {
	case UNCLEAR:
	case LOOKS_CLEAR:
		connection->step = LOOKS_CLEAR;
		return false;
	case OPEN:
		connection->step = wanted ? OPEN : READY;
		return false;
	case READY:
	case SKIPPING:
		connection->step = wanted ? OPEN : SKIPPING;
		return !wanted;
	}
	return false;
}

#endif
