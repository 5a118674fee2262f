// SPDX-License-Identifier: (MIT OR Apache-2.0)
/*
 * The usdt source: memcached's own probes, one program for each. A program filters,
 * copies and submits; of requests it only notes when they begin and end, so that an
 * operation takes one record and its reply another.
 *
 * A uprobe program can be preempted by another one on the same CPU: no per-CPU
 * scratch memory, and counters are added to atomically.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>
#include "mcrec.h"
#include "shared.bpf.h"
#ifdef WITHOUT_ATOMICS
#include "kernel_ring.bpf.h"
#else
#include "ring.bpf.h"
#endif
#include "sample.bpf.h"
#include "argument.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct connection {
	__u32 generation;
	__u32 sequence;
	__u64 started;		/* when the request at hand began; 0: it was not seen to */
	__u64 ended;		/* when the request before ended, until a record tells it */
	__u32 left_out;		/* operations of the request outside of the sample since the last
				   record */
	bool shown;		/* the request had an operation */
	bool untold;		/* no record tells yet when the last operation's request ended */
};

/* By file descriptor; sized by the target's descriptor limit before loading.
 * One worker thread owns a connection, so an entry has one writer at a time. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct connection);
} connections SEC(".maps");

/* Never used: an instance makes the skeleton define the type. Those of the other
 * source are here too, so that the recorder has one definition of each. */
struct mcrec_operation layout_operation = {};
struct mcrec_connect layout_connect = {};
struct mcrec_read layout_read = {};
struct mcrec_send layout_send = {};
struct mcrec_segment layout_segment = {};
struct mcrec_runs layout_runs = {};
struct mcrec_positions layout_positions = {};
enum mcrec_kind layout_kind = 0;
enum mcrec_command layout_command = 0;
enum mcrec_ring layout_ring = 0;

static __always_inline struct connection *connection_of(long connid)
{
	__u32 index = connid;

	return bpf_map_lookup_elem(&connections, &index);
}

static __always_inline void fill_head(struct mcrec_head *head, struct connection *connection,
				      long connid, enum mcrec_kind kind)
{
	head->ts = bpf_ktime_get_ns();
	head->connection = connid;
	head->generation = connection->generation;
	/* Counted even if the record is lost: that is how the loss shows. */
	head->sequence = connection->sequence++;
	head->thread = (__u32)bpf_get_current_pid_tgid();
	head->kind = kind;
}

static __always_inline void submit_head(struct mcrec_head *head)
{
	if (!ring_output(head, sizeof(*head)))
		COUNT(context_lost);
}

/* The connection of a probe that has no other argument that is wanted. */
static __always_inline struct connection *connection_at(struct pt_regs *ctx, long *connid)
{
	struct connection *connection = 0;

	if (!fetch(ctx, connid, 1))
		connection = connection_of(*connid);
	if (!connection)
		COUNT(context_lost);
	return connection;
}

/* The request at hand ends, whatever ends it. */
static __always_inline void end_request(struct connection *connection)
{
	if (connection->started && !connection->shown)
		COUNT(requests_without_operation);
	connection->shown = false;
	connection->left_out = 0;
}

/*
 * A request begins; where replies are batched, the one before ends here. No record is
 * made of that: the next one of the connection tells it.
 */
static __always_inline void started(struct pt_regs *ctx)
{
	long connid;
	struct connection *connection = connection_at(ctx, &connid);
	__u64 now;

	if (!connection)
		return;
	now = bpf_ktime_get_ns();
	end_request(connection);
	if (connection->untold && !connection->ended)
		connection->ended = now;
	connection->started = now;
}

/* Replies are ready to be sent. */
static __always_inline void ended(struct pt_regs *ctx)
{
	long connid;
	struct connection *connection = connection_at(ctx, &connid);
	struct mcrec_head head = {};

	if (!connection)
		return;
	end_request(connection);
	connection->started = 0;
	if (!connection->untold)
		return;
	fill_head(&head, connection, connid, MCREC_END);
	if (connection->ended)
		head.ts = connection->ended;
	connection->untold = false;
	connection->ended = 0;
	submit_head(&head);
}

/* A connection begins or ends. */
static __always_inline void connected(struct pt_regs *ctx, enum mcrec_kind kind)
{
	long connid;
	struct connection *connection = connection_at(ctx, &connid);
	struct mcrec_head head = {};

	if (!connection)
		return;
	if (kind == MCREC_CONNECT) {
		connection->generation++;
		connection->sequence = 0;
	}
	connection->started = connection->ended = 0;
	connection->shown = connection->untold = false;
	connection->left_out = 0;
	fill_head(&head, connection, connid, kind);
	submit_head(&head);
}

static __always_inline __u64 hash_key(const __u8 *key, __u32 length)
{
	__u64 hash = HASH_START;

	for (__u32 i = 0; i < MCREC_KEY_MAX && i < length; i++)
		hash = hash_add(hash, key[i]);
	return hash_end(hash);
}

static __always_inline void submit(struct mcrec_operation *operation, long connid, long key,
				   long key_length)
{
	struct connection *connection = connection_of(connid);
	/* Looked at once: that instant counts as the operation's. */
	__u32 limit = sample_limit;
	__u64 size;

	if (!connection) {
		COUNT(operations);
		COUNT(connection_untracked);
		return;
	}
	connection->shown = true;
	if (key_length < 0 || key_length > MCREC_KEY_MAX) {
		COUNT(operations);
		COUNT(argument_unreadable);
		return;
	}
	/* ITEM_key is not NUL-terminated: by length, never as a string. */
	if (bpf_probe_read_user(operation->key, key_length & 0xff, (const void *)key)) {
		operation->head.key_unreadable = 1;
		COUNT(key_unreadable);
	} else if (limit && !is_in_sample(hash_key(operation->key, key_length), limit)) {
		connection->left_out++;
		COUNT(sampled_out);
		return;
	}
	COUNT(operations);
	operation->started = connection->started;
	operation->ended = connection->ended;
	operation->left_out = connection->left_out;
	connection->ended = 0;
	connection->left_out = 0;
	connection->untold = connection->started != 0;
	fill_head(&operation->head, connection, connid, MCREC_COMMAND);
	operation->head.key_length = key_length;
	size = offsetof(struct mcrec_operation, key) + (key_length & 0xff);
	if (!ring_output(operation, size))
		COUNT(ring_full);
}

/*
 * Signatures: (connid, key, keylen, size, casid) for the item commands,
 * (connid, key, keylen, value) for incr and decr, (connid, key, keylen) for
 * delete. The struct is zeroed because kernels before 6.3 don't let a helper
 * read stack memory that was not written.
 */
static __always_inline void operation(struct pt_regs *ctx, enum mcrec_command command,
				      __u32 arguments)
{
	struct mcrec_operation operation = {};
	long values[ARGUMENTS_MAX] = {};

	if (fetch(ctx, values, arguments)) {
		COUNT(operations);
		COUNT(argument_unreadable);
		return;
	}
	operation.head.command = command;
	operation.head.size = values[3];
	operation.cas = values[4];
	submit(&operation, values[0], values[1], values[2]);
}

/* The program for probe command__NAME is called command_NAME, and so on: the
 * recorder finds the probe by the program's name. */
#define PROGRAM(name, number, work)                                            \
	SEC("usdt") int name(struct pt_regs *ctx)                              \
	{                                                                      \
		struct run run;                                                \
                                                                               \
		if (!recording) {                                              \
			ON_ITS_THREADS_STACK(ctx);                             \
			return 0;                                              \
		}                                                              \
		run = begin_run(number);                                       \
		work;                                                          \
		return end_run(run);                                           \
	}
#define COMMAND(name, command, arguments)                                      \
	PROGRAM(command_##name, command, operation(ctx, command, arguments))

/* Programs are numbered as the recorder has them (mcrec/src/probe/usdt.rs). */
COMMAND(get, MCREC_GET, 5)
COMMAND(set, MCREC_SET, 5)
COMMAND(add, MCREC_ADD, 5)
COMMAND(replace, MCREC_REPLACE, 5)
COMMAND(append, MCREC_APPEND, 5)
COMMAND(prepend, MCREC_PREPEND, 5)
COMMAND(cas, MCREC_CAS, 5)
COMMAND(touch, MCREC_TOUCH, 5)
COMMAND(incr, MCREC_INCR, 3)
COMMAND(decr, MCREC_DECR, 3)
COMMAND(delete, MCREC_DELETE, 3)

PROGRAM(process_command_start, 0, started(ctx))
PROGRAM(process_command_end, 12, ended(ctx))
PROGRAM(conn_allocate, 13, connected(ctx, MCREC_CONNECT))
PROGRAM(conn_release, 14, connected(ctx, MCREC_DISCONNECT))
