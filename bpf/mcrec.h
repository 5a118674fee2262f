/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/*
 * The contract between the BPF programs and the recorder: what goes through
 * the ring buffer, and the counters beside it. Private to this version of
 * mcrec; the public format is the capture's (schema/).
 *
 * The Rust side sees these types through the generated skeleton. Widest
 * fields first, no padding, sizes asserted here and there.
 */
#ifndef MCREC_H
#define MCREC_H

/* KEY_MAX_LENGTH of memcached: keys are 1 to 250 arbitrary bytes. */
#define MCREC_KEY_MAX 250

enum mcrec_kind {
	MCREC_START = 1,	/* process__command__start: a request begins */
	MCREC_COMMAND = 2,	/* command__*: one operation on one key */
	MCREC_END = 3,		/* process__command__end: replies are ready to be sent */
	MCREC_CONNECT = 4,	/* conn__allocate */
	MCREC_DISCONNECT = 5,	/* conn__release */
};

enum mcrec_command {
	MCREC_GET = 1,
	MCREC_SET,
	MCREC_ADD,
	MCREC_REPLACE,
	MCREC_APPEND,
	MCREC_PREPEND,
	MCREC_CAS,
	MCREC_TOUCH,
	MCREC_INCR,
	MCREC_DECR,
	MCREC_DELETE,
};

/* Every record begins with this; those other than MCREC_COMMAND are only this. */
struct mcrec_head {
	__u64 ts;		/* CLOCK_MONOTONIC, ns */
	__u32 connection;	/* the file descriptor, memcached's connid */
	__u32 generation;	/* how often this descriptor was allocated since attaching */
	__u32 sequence;		/* number of this record on its connection; a gap is a lost record */
	__u32 thread;		/* kernel thread id of the worker */
	__u8 kind;		/* enum mcrec_kind */
	__u8 command;		/* enum mcrec_command */
	__u8 key_length;	/* bytes of key that follow the fixed part */
	__u8 key_unreadable;	/* 1: the key's memory could not be read; its bytes are zero */
	__s32 size;		/* the probe's size: value length + 2, or -1 */
};

/* On the ring only the first key_length bytes of key are there. */
struct mcrec_operation {
	struct mcrec_head head;
	__u64 cas;		/* the probe's casid, 0 where it has none */
	__u8 key[256];		/* MCREC_KEY_MAX, rounded up so that the verifier can bound it by a mask */
};

_Static_assert(sizeof(struct mcrec_head) == 32, "layout of mcrec_head");
_Static_assert(sizeof(struct mcrec_operation) == 32 + 8 + 256, "layout of mcrec_operation");

/*
 * One per CPU, summed by the recorder. operations counts every command probe
 * that fired while recording; each of those is either on the ring or in one of
 * the loss counters that follow it.
 */
struct mcrec_counters {
	__u64 operations;
	__u64 ring_full;		/* lost: no room on the ring */
	__u64 argument_unreadable;	/* lost: connection or key length could not be read */
	__u64 connection_untracked;	/* lost: descriptor beyond the connection table */
	__u64 context_lost;		/* start, end or connection records lost, for whatever reason:
					   no operation is missing, but latencies are unknown */
	__u64 key_unreadable;		/* operations on the ring without their key */
};

_Static_assert(sizeof(struct mcrec_counters) == 48, "layout of mcrec_counters");

#endif
