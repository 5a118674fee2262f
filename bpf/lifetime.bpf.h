/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/* How the connections of the syscalls source begin and end, and what their records have in
 * common. */
#ifndef LIFETIME_BPF_H
#define LIFETIME_BPF_H

#include "connection.bpf.h"

static __always_inline void fill_head(struct mcrec_head *head, __u32 descriptor, __u32 inode,
				      enum mcrec_kind kind)
{
	__builtin_memset(head, 0, sizeof(*head));
	head->ts = bpf_ktime_get_ns();
	head->connection = descriptor;
	head->generation = inode;
	head->thread = (__u32)bpf_get_current_pid_tgid();
	head->kind = kind;
}

/* Whether there was room. The sequence counts on either way: that is how a loss
 * shows. */
static __always_inline bool submit(struct mcrec_head *head, struct connection *connection,
				   __u64 size)
{
	head->sequence = connection->sequence++;
	return ring_output(head, size);
}

/*
 * The end of a connection may be seen twice at the same time: at its close, and at an accept
 * that reuses its descriptor. One of the two claims it, and tells the recorder.
 */
#ifndef WITHOUT_ATOMICS
static __always_inline void begin_claim(struct connection *connection, __u32 descriptor,
					__u32 inode)
{
}

static __always_inline bool claim(struct connection *connection, __u32 descriptor, __u64 owner)
{
	return __sync_val_compare_and_swap(&connection->owner, owner, OWNER(UNKNOWN, 0)) == owner;
}
#else
struct claim {
	__u32 descriptor;
	__u32 inode;
};

/* Connections that nobody has claimed; who takes one out has it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct claim);
	__type(value, __u8);
} unclaimed SEC(".maps");

static __always_inline void begin_claim(struct connection *connection, __u32 descriptor,
					__u32 inode)
{
	struct claim claim = { .descriptor = descriptor, .inode = inode };
	__u8 none = 0;

	/* Beyond the table nobody can claim, and both would tell: a second end of what has
	 * ended is no harm. */
	connection->beyond_claims = bpf_map_update_elem(&unclaimed, &claim, &none, BPF_ANY) != 0;
}

/* The owner may change between the two lines at the end. Then a connection is taken for one
 * that was there before, and is found again with its next request. */
static __always_inline bool claim(struct connection *connection, __u32 descriptor, __u64 owner)
{
	struct claim claim = { .descriptor = descriptor, .inode = INODE_OF(owner) };

	if (STATE_OF(owner) == CLIENT && bpf_map_delete_elem(&unclaimed, &claim) &&
	    !connection->beyond_claims)
		return false;
	if (*(volatile __u64 *)&connection->owner == owner)
		connection->owner = OWNER(UNKNOWN, 0);
	return true;
}
#endif

/* Finds out what the descriptor is now, and says so if it is a client's. */
static __noinline int identify(struct connection *connection, __u32 descriptor, bool accepted)
{
	struct file *file = file_of(descriptor);
	__u32 inode = socket_inode_of(file);
	struct mcrec_connect record = {};
	struct socket *socket;
	struct sock *sock;

	if (!connection)	/* never; the verifier cannot know */
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	sock = BPF_CORE_READ(socket, sk);
	if (!inode || !(accepted || is_client(sock))) {
		connection->owner = OWNER(IGNORED, inode);
		return 0;
	}
	connection->sequence = 0;
	connection->step = accepted ? READY : UNCLEAR;
	connection->protocol = NO_PROTOCOL;
	connection->head_left = connection->value_left = 0;
	connection->long_buffer = 0;
	connection->socket = 0;
	begin_claim(connection, descriptor, inode);
	connection->owner = OWNER(CLIENT, inode);
	fill_head(&record.head, descriptor, inode, MCREC_CONNECT);
	fill_address(&record.client, sock);
	if (record.client.family != AF_UNIX)
		record.local_port = BPF_CORE_READ(sock, __sk_common.skc_num);
	record.accepted = accepted;
	record.stream = BPF_CORE_READ(socket, type) == SOCK_STREAM;
	if (!submit(&record.head, connection, sizeof(record)))
		COUNT(context_lost);
	return 0;
}

/* The descriptor's owner is no more, unless that was seen by another thread. */
static __always_inline void forget(struct connection *connection, __u32 descriptor, __u64 owner)
{
	__u32 sequence = connection->sequence;
	struct mcrec_head head;

	barrier_var(sequence);	/* read before another thread may reuse it */
	if (!claim(connection, descriptor, owner) || STATE_OF(owner) != CLIENT)
		return;
	fill_head(&head, descriptor, INODE_OF(owner), MCREC_DISCONNECT);
	head.sequence = sequence;
	if (!ring_output(&head, sizeof(head)))
		COUNT(context_lost);
}

/* Whether the descriptor still is that of its owner, a client. */
static __always_inline bool is_still(__u32 descriptor, __u64 owner)
{
	return STATE_OF(owner) == CLIENT && socket_inode_of(file_of(descriptor)) == INODE_OF(owner);
}

/* A new descriptor. Its number may be one whose close has not returned yet, and
 * so has not been seen. */
static __always_inline int opened(__u32 descriptor, bool accepted)
{
	struct connection *connection = connection_of(descriptor);
	__u64 owner;

	if (!connection) {
		if (accepted)
			COUNT(context_lost);
		return 0;
	}
	owner = *(volatile __u64 *)&connection->owner;
	/* Where one library's function calls another's, this was seen at the inner one. */
	if (accepted && is_still(descriptor, owner))
		return 0;
	forget(connection, descriptor, owner);
	if (accepted)
		identify(connection, descriptor, true);
	else
		connection->owner = OWNER(IGNORED, 0);	/* a connection to elsewhere */
	return 0;
}

/* A close has returned. */
static __always_inline int closed(__u32 descriptor)
{
	struct connection *connection = connection_of(descriptor);
	__u64 owner;

	if (!connection)
		return 0;
	owner = *(volatile __u64 *)&connection->owner;
	/* An accept was faster: the descriptor is another connection's already. */
	if (is_still(descriptor, owner))
		return 0;
	forget(connection, descriptor, owner);
	return 0;
}

/* A close is about to be made. */
static __always_inline int closing(__u32 descriptor)
{
	struct connection *connection = connection_of(descriptor);

	if (connection)
		forget(connection, descriptor, *(volatile __u64 *)&connection->owner);
	return 0;
}

/*
 * Whether a call was one on a client's descriptor. Where the caller knows the socket, a
 * change of owner that was not seen is seen here.
 */
static __always_inline bool is_of_client(struct connection *connection, __u32 descriptor,
					 struct sock *sock)
{
	__u64 owner = connection->owner;
	__u32 inode;

	if (sock && connection->socket != (__u64)sock) {
		inode = BPF_CORE_READ(sock, sk_socket, file, f_inode, i_ino);
		if (INODE_OF(owner) != inode) {
			/* The kernel may use a socket of its own in a call on something else. */
			if (socket_inode_of(file_of(descriptor)) != inode)
				return false;
			forget(connection, descriptor, owner);
			identify(connection, descriptor, false);
		}
		connection->socket = (__u64)sock;
	} else if (STATE_OF(owner) == UNKNOWN) {
		identify(connection, descriptor, false);
	}
	return STATE_OF(connection->owner) == CLIENT;
}

#endif
