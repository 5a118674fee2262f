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
	MCREC_COMMAND = 2,	/* command__*: one operation on one key */
	MCREC_END = 3,		/* the request whose operations were recorded last is done */
	MCREC_CONNECT = 4,	/* conn__allocate; of the syscalls source a struct mcrec_connect */
	MCREC_DISCONNECT = 5,	/* conn__release; close */
	MCREC_READ = 6,		/* read */
	MCREC_DATAGRAM = 7,	/* recvfrom */
	MCREC_SEND = 8,		/* sendmsg, write */
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

/*
 * Every record begins with this; those of the usdt source other than
 * MCREC_COMMAND, and MCREC_DISCONNECT, are only this. The syscalls source
 * leaves zero what follows kind.
 */
struct mcrec_head {
	__u64 ts;		/* CLOCK_MONOTONIC, ns */
	__u32 connection;	/* the file descriptor, memcached's connid */
	__u32 generation;	/* usdt: how often this descriptor was allocated since attaching;
				   syscalls: the socket's inode number */
	__u32 sequence;		/* number of this record on its connection; a gap is a lost record */
	__u32 thread;		/* kernel thread id of the worker */
	__u8 kind;		/* enum mcrec_kind */
	__u8 command;		/* enum mcrec_command */
	__u8 key_length;	/* bytes of key that follow the fixed part */
	__u8 key_unreadable;	/* 1: the key's memory could not be read; its bytes are zero */
	__s32 size;		/* MCREC_COMMAND: the probe's size: value length + 2, or -1 */
};

/* On the ring only the first key_length bytes of key are there. */
struct mcrec_operation {
	struct mcrec_head head;
	__u64 cas;		/* the probe's casid, 0 where it has none */
	__u64 started;		/* ts of its request's process__command__start, 0 if not seen */
	__u64 ended;		/* when the request of the record before this one ended, if that was
				   another request, and no MCREC_END came between; else 0 */
	__u64 left_out;		/* operations of the request since its record before this one that
				   are outside of the sample */
	__u8 key[256];		/* MCREC_KEY_MAX, rounded up so that the verifier can bound it by a mask */
};

/*
 * The syscalls source: what a system call on a client's descriptor moved. All
 * records of one call have the same ts and thread.
 */

struct mcrec_address {
	__u16 family;	/* AF_*; 0 where there is no address */
	__u16 port;	/* host order */
	__u8 ip[16];	/* of IPv4 the first 4; of a unix socket none */
};

/* Before the first other record of a connection. */
struct mcrec_connect {
	struct mcrec_head head;
	struct mcrec_address client;	/* without port and ip for a socket that is not connected: UDP */
	__u16 local_port;
	__u8 accepted;			/* 0: it was there before the recording */
	__u8 stream;			/* 1: SOCK_STREAM, 0: datagrams */
};

/* Most bytes that one MCREC_READ or MCREC_DATAGRAM copies, and records to a call. */
#define MCREC_CHUNK 16384
#define MCREC_CHUNKS_MAX 64

/*
 * What a read returned; copied bytes follow, of MCREC_DATAGRAM after a struct
 * mcrec_address: where it came from. A call has a record for each MCREC_CHUNK
 * bytes that are copied and at least one. The body of a long value is not copied.
 */
struct mcrec_read {
	struct mcrec_head head;
	__u32 length;	/* bytes that the call returned */
	__u32 asked;	/* bytes that it was asked for */
	__u32 offset;	/* of this record's bytes within those returned */
	__u32 copied;	/* bytes that follow */
};

/* What a send took; as many struct mcrec_segment follow as segments says. */
struct mcrec_send {
	struct mcrec_head head;
	__u32 accepted;	/* bytes that the call returned */
	__u32 first;	/* number of this record within the call: 0 is the first */
	__u32 segments;
	__u32 last;	/* 1: the last record of the call */
};

/* A buffer of MCREC_SEND longer than this is not copied whole. */
#define MCREC_SEGMENT_WHOLE 512
#define MCREC_SEGMENT_END 64

/* One buffer of a send, or the part of one up to the end of a value, of which no byte is
 * copied. Its first and last bytes follow without padding. */
struct mcrec_segment {
	__u32 length;	/* of which less may have been accepted */
	__u16 head;	/* how many of its first bytes follow: all, the header of a value,
			   MCREC_SEGMENT_END or none */
	__u16 tail;	/* how many of its last bytes follow those */
};

_Static_assert(sizeof(struct mcrec_head) == 32, "layout of mcrec_head");
_Static_assert(sizeof(struct mcrec_operation) == 32 + 4 * 8 + 256, "layout of mcrec_operation");
_Static_assert(sizeof(struct mcrec_address) == 20, "layout of mcrec_address");
_Static_assert(sizeof(struct mcrec_connect) == 32 + 20 + 4, "layout of mcrec_connect");
_Static_assert(sizeof(struct mcrec_read) == 32 + 16, "layout of mcrec_read");
_Static_assert(sizeof(struct mcrec_send) == 32 + 16, "layout of mcrec_send");
_Static_assert(sizeof(struct mcrec_segment) == 8, "layout of mcrec_segment");

/*
 * One per CPU, summed by the recorder.
 *
 * sampled_out counts the operations on keys outside of the sample that were left out
 * here; they are in none of the other counters.
 *
 * usdt: operations counts every command probe that fired while recording; each
 * of those is either on the ring or in one of the loss counters that follow it.
 *
 * syscalls: operations counts every read of a client that begins with a request, and
 * every datagram, for each has an operation or more; ring_full those whose (first)
 * record found no room, and connection_untracked those beyond the connection table.
 * context_lost counts all other records that were lost, and user memory that could not be
 * read, without which the record is on the ring: the recorder finds what that makes unknown.
 */
struct mcrec_counters {
	__u64 operations;
	__u64 ring_full;		/* lost: no room on the ring */
	__u64 argument_unreadable;	/* lost: connection or key length could not be read */
	__u64 connection_untracked;	/* lost: descriptor beyond the connection table */
	__u64 context_lost;		/* start, end or connection records lost, for whatever reason:
					   no operation is missing, but latencies are unknown */
	__u64 key_unreadable;		/* operations on the ring without their key */
	__u64 sampled_out;		/* left out on purpose */
	__u64 requests_without_operation;	/* usdt: requests that began and ended without an
						   operation that has a probe */
};

_Static_assert(sizeof(struct mcrec_counters) == 64, "layout of mcrec_counters");

/* How far a ring was filled and emptied (ring.bpf.h), bytes since it was made. On lines of
 * their own, because one is written by the server's CPUs, the other by the recorder's. */
struct mcrec_positions {
	__u64 produced;
	__u64 apart[15];
	__u64 consumed;
	__u64 end[15];
};

_Static_assert(sizeof(struct mcrec_positions) == 256, "layout of mcrec_positions");

enum mcrec_ring {
	/* No record is longer. */
	MCREC_RECORD_MAX = MCREC_CHUNK + 128,
	/* Bytes of a block of the ring, unless the ring is smaller: the kernel's maps have no
	 * larger values everywhere. */
	MCREC_RING_BLOCK = 2 * 1024 * 1024,
	/* Of each block beyond its end: for a record that begins there last. */
	MCREC_RING_SPARE = 8 + MCREC_RECORD_MAX,
};

/* Programs of a source, at most. */
#define MCREC_PROGRAMS 16

/*
 * What the runs of one program in the target took; one per CPU. One run in
 * MCREC_TIMED_ONE_IN is timed: the kernel's own statistics time them all, which costs
 * as much as half of what is timed. Uprobe programs interrupt each other, and then
 * a run may not be counted.
 */
struct mcrec_runs {
	__u64 count;
	__u64 timed;
	__u64 time;	/* of those that were timed, ns */
};

#define MCREC_TIMED_ONE_IN 16

#endif
