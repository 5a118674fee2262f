// SPDX-License-Identifier: (MIT OR Apache-2.0)
/*
 * The usdt source: memcached's own probes, one program for each. Nothing is
 * paired or interpreted here; a program filters, copies and submits.
 *
 * libbpf knows each call site's own argument encoding (the same probe has
 * several) and hands the program the value. Every argument costs a map look-up
 * and often a read of user memory, so only those that are recorded are fetched.
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
#include "sample.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct connection {
	__u32 generation;
	__u32 sequence;
	__u32 left_out;		/* operations outside of the sample since the last record */
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
enum mcrec_kind layout_kind = 0;
enum mcrec_command layout_command = 0;

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
	connection->left_out = 0;
	head->thread = (__u32)bpf_get_current_pid_tgid();
	head->kind = kind;
}

/* A record of context: the beginning or end of a request or a connection. */
static __always_inline int context(struct pt_regs *ctx, enum mcrec_kind kind)
{
	struct mcrec_head head = {};
	struct connection *connection;
	long connid;

	if (!recording)
		return 0;
	if (bpf_usdt_arg(ctx, 0, &connid))
		goto lost;
	connection = connection_of(connid);
	if (!connection)
		goto lost;
	if (kind == MCREC_CONNECT) {
		connection->generation++;
		connection->sequence = 0;
	}
	head.size = connection->left_out;
	fill_head(&head, connection, connid, kind);
	if (bpf_ringbuf_output(&ring, &head, sizeof(head), BPF_RB_NO_WAKEUP))
		goto lost;
	return 0;
lost:
	COUNT(context_lost);
	return 0;
}

static __always_inline __u64 hash_key(const __u8 *key, __u32 length)
{
	__u64 hash = HASH_START;

	for (__u32 i = 0; i < MCREC_KEY_MAX && i < length; i++)
		hash = hash_add(hash, key[i]);
	return hash_end(hash);
}

static __always_inline int submit(struct mcrec_operation *operation, long connid, long key,
				  long key_length)
{
	struct connection *connection = connection_of(connid);
	/* Looked at once: that instant counts as the operation's. */
	__u32 limit = sample_limit;
	__u64 size;

	if (!connection) {
		COUNT(operations);
		COUNT(connection_untracked);
		return 0;
	}
	if (key_length < 0 || key_length > MCREC_KEY_MAX) {
		COUNT(operations);
		COUNT(argument_unreadable);
		return 0;
	}
	/* ITEM_key is not NUL-terminated: by length, never as a string. */
	if (bpf_probe_read_user(operation->key, key_length & 0xff, (const void *)key)) {
		operation->head.key_unreadable = 1;
		COUNT(key_unreadable);
	} else if (limit && !is_in_sample(hash_key(operation->key, key_length), limit)) {
		connection->left_out++;
		COUNT(sampled_out);
		return 0;
	}
	COUNT(operations);
	operation->left_out = connection->left_out;
	fill_head(&operation->head, connection, connid, MCREC_COMMAND);
	operation->head.key_length = key_length;
	size = offsetof(struct mcrec_operation, key) + (key_length & 0xff);
	if (bpf_ringbuf_output(&ring, operation, size, BPF_RB_NO_WAKEUP))
		COUNT(ring_full);
	return 0;
}

/*
 * Signatures: (connid, key, keylen, size, casid) for the item commands,
 * (connid, key, keylen, value) for incr and decr, (connid, key, keylen) for
 * delete. The struct is zeroed because kernels before 6.3 don't let a helper
 * read stack memory that was not written.
 */
static __always_inline int operation(struct pt_regs *ctx, enum mcrec_command command,
				     bool has_size)
{
	struct mcrec_operation operation = {};
	long connid, key, key_length, size = 0, cas = 0;

	if (!recording)
		return 0;
	if (bpf_usdt_arg(ctx, 0, &connid) || bpf_usdt_arg(ctx, 1, &key) ||
	    bpf_usdt_arg(ctx, 2, &key_length) ||
	    (has_size && (bpf_usdt_arg(ctx, 3, &size) || bpf_usdt_arg(ctx, 4, &cas)))) {
		COUNT(operations);
		COUNT(argument_unreadable);
		return 0;
	}
	operation.head.command = command;
	operation.head.size = size;
	operation.cas = cas;
	return submit(&operation, connid, key, key_length);
}

/* The program for probe command__NAME is called command_NAME, and so on: the
 * recorder finds the probe by the program's name. */
#define ITEM_COMMAND(name, command)                                            \
	SEC("usdt") int command_##name(struct pt_regs *ctx)                    \
	{                                                                      \
		return operation(ctx, command, true);                          \
	}
#define KEY_COMMAND(name, command)                                             \
	SEC("usdt") int command_##name(struct pt_regs *ctx)                    \
	{                                                                      \
		return operation(ctx, command, false);                         \
	}
#define CONTEXT(name, kind)                                                    \
	SEC("usdt") int name(struct pt_regs *ctx)                              \
	{                                                                      \
		return context(ctx, kind);                                     \
	}

ITEM_COMMAND(get, MCREC_GET)
ITEM_COMMAND(set, MCREC_SET)
ITEM_COMMAND(add, MCREC_ADD)
ITEM_COMMAND(replace, MCREC_REPLACE)
ITEM_COMMAND(append, MCREC_APPEND)
ITEM_COMMAND(prepend, MCREC_PREPEND)
ITEM_COMMAND(cas, MCREC_CAS)
ITEM_COMMAND(touch, MCREC_TOUCH)
KEY_COMMAND(incr, MCREC_INCR)
KEY_COMMAND(decr, MCREC_DECR)
KEY_COMMAND(delete, MCREC_DELETE)

CONTEXT(process_command_start, MCREC_START)
CONTEXT(process_command_end, MCREC_END)
CONTEXT(conn_allocate, MCREC_CONNECT)
CONTEXT(conn_release, MCREC_DISCONNECT)
