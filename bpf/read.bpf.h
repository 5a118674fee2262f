/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/* What the server read from a client. */
#ifndef READ_BPF_H
#define READ_BPF_H

#include "lifetime.bpf.h"

/*
 * A record being put together and the call that it describes. Here and not on the stack,
 * because of its size and because add_chunk needs it too. No program runs twice at once on
 * one CPU: each runs with preemption off, or the kernel skips the second run. So each CPU
 * has one.
 */
struct read_scratch {
	__u64 buffer;
	__u64 wanted;		/* bytes to copy */
	union {
		struct mcrec_head head;
		struct mcrec_read read;
		struct {
			struct mcrec_read datagram;
			struct mcrec_address source;
		};
		__u8 bytes[sizeof(struct mcrec_read) + sizeof(struct mcrec_address) + MCREC_CHUNK];
	};
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct read_scratch);
} read_scratches SEC(".maps");

static __always_inline struct read_scratch *read_scratch_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&read_scratches, &zero);
}

/*
 * Whether a read has the beginning of a request, and so an operation or more. Others go on
 * with a line or a value, and what begins after that is not known here; so what is counted
 * is the least there can be. (One that wants just as much of a value looks the same.)
 */
static __always_inline bool begins_request(__u8 kind, __u64 asked)
{
	return kind == MCREC_DATAGRAM || asked == COMMAND;
}

/* One record of a read; the next call continues where it ends. Whether there is no more to
 * be done. Not static: so the kernel verifies it once, and not for each turn of a loop. */
__noinline int add_chunk(__u32 index)
{
	struct read_scratch *scratch = read_scratch_here();
	struct connection *connection;
	__u64 fixed, offset, length;

	if (!scratch || index >= MCREC_CHUNKS_MAX)
		return 1;
	connection = connection_of(scratch->head.connection);
	if (!connection)
		return 1;
	fixed = sizeof(struct mcrec_read);
	if (scratch->head.kind == MCREC_DATAGRAM)
		fixed += sizeof(struct mcrec_address);
	offset = (__u64)index * MCREC_CHUNK;
	length = scratch->wanted - offset;
	barrier_var(length);
	if (length > MCREC_CHUNK)
		length = MCREC_CHUNK;
	if (bpf_probe_read_user(scratch->bytes + fixed, length,
				(const void *)(scratch->buffer + offset))) {
		COUNT(context_lost);
		length = 0;
	}
	scratch->read.offset = offset;
	scratch->read.copied = length;
	if (!submit(&scratch->head, connection, fixed + length)) {
		if (index || !begins_request(scratch->head.kind, scratch->read.asked))
			COUNT(context_lost);
		else
			COUNT(ring_full);
	}
	return 0;
}

static __always_inline void fill_source(struct mcrec_address *source, __u64 user)
{
	struct {
		__u16 family;
		__be16 port;
		__u8 ip[4];	/* IPv6 has its flow information here */
	} from = {};

	__builtin_memset(source, 0, sizeof(*source));
	if (!user)
		return;
	if (bpf_probe_read_user(&from, sizeof(from), (const void *)user)) {
		COUNT(context_lost);
		return;
	}
	source->family = from.family;
	source->port = __builtin_bswap16(from.port);
	if (from.family == AF_INET)
		__builtin_memcpy(source->ip, from.ip, sizeof(from.ip));
	else if (from.family == AF_INET6 &&
		 bpf_probe_read_user(source->ip, sizeof(source->ip),
				     (const void *)(user + sizeof(from))))
		COUNT(context_lost);
}

/* To look for a value costs about as much as to copy so many bytes. */
#define WORTH_LOOKING 2048

static __always_inline int received(struct pt_regs *regs, struct sock *sock, __u64 length,
				    enum mcrec_kind kind)
{
	__u32 descriptor = PT_REGS_PARM1_SYSCALL(regs);
	struct connection *connection = connection_of(descriptor);
	struct read_scratch *scratch = read_scratch_here();
	__u32 limit = sample_limit;
	__u64 asked = PT_REGS_PARM3_SYSCALL(regs), chunks = 1;

	if (!connection) {
		if (begins_request(kind, asked)) {
			COUNT(operations);
			COUNT(connection_untracked);
		}
		return 0;
	}
	if (!scratch || !is_of_client(connection, descriptor, sock))
		return 0;
	scratch->buffer = PT_REGS_PARM2_SYSCALL(regs);
	/* The server reads when it has sent all that it had to. */
	connection->head_left = connection->value_left = 0;
	if (!limit || kind != MCREC_READ) {
		connection->step = UNCLEAR;
	} else if (is_left_out(connection, scratch->buffer, length, asked, limit)) {
		COUNT(sampled_out);
		return 0;
	}
	if (begins_request(kind, asked))
		COUNT(operations);
	scratch->wanted = length;
	if (kind == MCREC_READ && asked > MCREC_CHUNK &&
	    !is_long_get(connection, scratch->buffer, asked))
		scratch->wanted = 0;
	if (kind == MCREC_READ && asked == COMMAND && length > WORTH_LOOKING)
		scratch->wanted = before_value(scratch->buffer, length) ?: length;
	fill_head(&scratch->head, descriptor, INODE_OF(connection->owner), kind);
	scratch->read.length = length;
	scratch->read.asked = asked;
	if (kind == MCREC_DATAGRAM)
		fill_source(&scratch->source, PT_REGS_PARM5_SYSCALL(regs));
	if (scratch->wanted > MCREC_CHUNK)
		chunks = (scratch->wanted + MCREC_CHUNK - 1) / MCREC_CHUNK;
	if (chunks > MCREC_CHUNKS_MAX)
		chunks = MCREC_CHUNKS_MAX;
	for (__u32 i = 0; i < MCREC_CHUNKS_MAX; i++)
		if (i >= chunks || add_chunk(i))
			break;
	return 0;
}

#endif
