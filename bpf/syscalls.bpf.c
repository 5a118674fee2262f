// SPDX-License-Identifier: (MIT OR Apache-2.0)
/*
 * The syscalls source: the bytes that memcached reads from and sends to its
 * clients, seen where its system calls return. Nothing is parsed here but what
 * tells a value, which is not copied, from the rest.
 *
 * The kernel runs this program with preemption off and never twice at once on
 * one CPU, so records are put together in memory that each CPU has once.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "mcrec.h"
#include "shared.bpf.h"
#include "socket.bpf.h"
#include "connection.bpf.h"
#include "syscall.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Set before loading, and so constants to the kernel's compiler. */
const volatile __u32 target_tgid = 0;
/* The recorder's process id namespace, which numbers target_tgid; zero for the
 * initial one. */
const volatile __u64 namespace_device = 0;
const volatile __u64 namespace_inode = 0;

/* Where the executable's memory is that is never written: its constants. */
const volatile __u64 readonly_start = 0;
const volatile __u64 readonly_end = 0;

/* Room for segments in one MCREC_SEND, and for the largest of them. */
#define SEGMENTS_BYTES 16384
#define SEGMENT_BYTES (sizeof(struct mcrec_segment) + MCREC_SEGMENT_WHOLE)

#define IOVECS_MAX 1024
/* How many are fetched at once. */
#define IOVECS 16

/* What sendmsg is given. memcached has both on its stack, one after the other, so one
 * read fetches them: a read costs as much as all that is done with what it fetched. */
struct message {
	struct user_msghdr header;
	__u64 alignment;
	struct iovec iovecs[IOVECS];
};

/* A record being put together and the call that it describes. Here and not on
 * the stack, because the functions that bpf_loop calls need it too. */
struct scratch {
	union {
		struct mcrec_head head;
		struct mcrec_read read;
		struct {
			struct mcrec_read datagram;
			struct mcrec_address source;
		};
		struct {
			struct mcrec_send send;
			__u8 segments[SEGMENTS_BYTES];
		};
		__u8 bytes[sizeof(struct mcrec_read) + sizeof(struct mcrec_address) + MCREC_CHUNK];
	};
	/* Of a read. */
	__u64 buffer;
	__u64 wanted;		/* bytes to copy */
	/* Of a send. */
	__u64 iovecs_at;
	__u64 iovec_count;
	__u64 sent;		/* bytes in the buffers seen so far */
	__u64 used;		/* bytes in segments */
	bool value_follows;	/* the last buffer was the header of a value */
	bool binary;		/* one of the buffers was the header of a packet */
	bool iovecs_fetched;	/* with the header: the first of them */
	struct message message;
	/* The constant that was sent last, such as END, and where it is. */
	__u64 constant_at;
	__u64 constant;
	struct request request;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

static __always_inline struct scratch *scratch_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratches, &zero);
}

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
	return !bpf_ringbuf_output(&ring, head, size, BPF_RB_NO_WAKEUP);
}

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
		connection->owner = OWNER(IGNORED, 0);
		return 0;
	}
	connection->sequence = 0;
	connection->step = accepted ? READY : UNCLEAR;
	connection->protocol = NO_PROTOCOL;
	connection->long_buffer = 0;
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
	if (__sync_val_compare_and_swap(&connection->owner, owner, OWNER(UNKNOWN, 0)) != owner ||
	    STATE_OF(owner) != CLIENT)
		return;
	fill_head(&head, descriptor, INODE_OF(owner), MCREC_DISCONNECT);
	head.sequence = sequence;
	if (bpf_ringbuf_output(&ring, &head, sizeof(head), BPF_RB_NO_WAKEUP))
		COUNT(context_lost);
}

/* A new descriptor. Its number may be one whose close has not returned yet, and
 * so has not been seen. */
static __always_inline int opened(__u32 descriptor, bool accepted)
{
	struct connection *connection = connection_of(descriptor);

	if (!connection) {
		if (accepted)
			COUNT(context_lost);
		return 0;
	}
	forget(connection, descriptor, connection->owner);
	if (accepted)
		identify(connection, descriptor, true);
	else
		connection->owner = OWNER(IGNORED, 0);	/* a connection to elsewhere */
	return 0;
}

static __always_inline int closed(__u32 descriptor)
{
	struct connection *connection = connection_of(descriptor);
	__u64 owner;

	if (!connection)
		return 0;
	owner = *(volatile __u64 *)&connection->owner;
	/* An accept was faster: the descriptor is another connection's already. */
	if (STATE_OF(owner) == CLIENT && socket_inode_of(file_of(descriptor)) == INODE_OF(owner))
		return 0;
	forget(connection, descriptor, owner);
	return 0;
}

static __always_inline bool is_of_client(struct connection *connection, __u32 descriptor)
{
	if (STATE_OF(connection->owner) == UNKNOWN)
		identify(connection, descriptor, false);
	return STATE_OF(connection->owner) == CLIENT;
}

/* One record of a read; the next loop continues where it ends. */
static long add_chunk(__u64 index, void *unused)
{
	struct scratch *scratch = scratch_here();
	struct connection *connection;
	__u64 fixed, offset, length;

	if (!scratch)
		return 1;
	connection = connection_of(scratch->head.connection);
	if (!connection)
		return 1;
	fixed = sizeof(struct mcrec_read);
	if (scratch->head.kind == MCREC_DATAGRAM)
		fixed += sizeof(struct mcrec_address);
	offset = index * MCREC_CHUNK;
	length = scratch->wanted - offset;
	barrier_var(length);
	if (length > MCREC_CHUNK)
		length = MCREC_CHUNK;
	if (bpf_probe_read_user(scratch->bytes + fixed, length,
				(const void *)(scratch->buffer + offset))) {
		COUNT(argument_unreadable);
		length = 0;
	}
	scratch->read.offset = offset;
	scratch->read.copied = length;
	if (!submit(&scratch->head, connection, fixed + length)) {
		if (index)
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
		COUNT(argument_unreadable);
		return;
	}
	source->family = from.family;
	source->port = __builtin_bswap16(from.port);
	if (from.family == AF_INET)
		__builtin_memcpy(source->ip, from.ip, sizeof(from.ip));
	else if (from.family == AF_INET6 &&
		 bpf_probe_read_user(source->ip, sizeof(source->ip),
				     (const void *)(user + sizeof(from))))
		COUNT(argument_unreadable);
}

/* To look for a value costs about as much as to copy so many bytes. */
#define WORTH_LOOKING 2048

static __always_inline int received(struct pt_regs *regs, __u64 length, enum mcrec_kind kind)
{
	__u32 descriptor = PT_REGS_PARM1_SYSCALL(regs);
	struct connection *connection = connection_of(descriptor);
	struct scratch *scratch = scratch_here();
	__u32 limit = sample_limit;
	__u64 asked, chunks = 1;

	if (!connection) {
		COUNT(operations);
		COUNT(connection_untracked);
		return 0;
	}
	if (!scratch || !is_of_client(connection, descriptor))
		return 0;
	asked = PT_REGS_PARM3_SYSCALL(regs);
	scratch->buffer = PT_REGS_PARM2_SYSCALL(regs);
	if (!limit || kind != MCREC_READ) {
		connection->step = UNCLEAR;
	} else {
		scratch->request.buffer = scratch->buffer;
		scratch->request.length = length;
		if (is_left_out(connection, &scratch->request, asked, limit)) {
			COUNT(sampled_out);
			return 0;
		}
	}
	COUNT(operations);
	scratch->wanted = length;
	if (kind == MCREC_READ && asked > MCREC_CHUNK &&
	    !is_long_get(connection, scratch->buffer, asked))
		scratch->wanted = 0;
	if (kind == MCREC_READ && asked == COMMAND && length > WORTH_LOOKING) {
		scratch->request.buffer = scratch->buffer;
		scratch->request.length = length;
		scratch->wanted = before_value(&scratch->request) ?: length;
	}
	fill_head(&scratch->head, descriptor, INODE_OF(connection->owner), kind);
	scratch->read.length = length;
	scratch->read.asked = asked;
	if (kind == MCREC_DATAGRAM)
		fill_source(&scratch->source, PT_REGS_PARM5_SYSCALL(regs));
	if (scratch->wanted > MCREC_CHUNK)
		chunks = (scratch->wanted + MCREC_CHUNK - 1) / MCREC_CHUNK;
	if (chunks > MCREC_CHUNKS_MAX)
		chunks = MCREC_CHUNKS_MAX;
	if (chunks == 1)
		add_chunk(0, 0);
	else
		bpf_loop(chunks, add_chunk, 0, 0);
	return 0;
}

static __always_inline void submit_send(struct scratch *scratch, bool last)
{
	struct connection *connection = connection_of(scratch->head.connection);
	__u64 used = scratch->used;

	barrier_var(used);
	if (!connection || used > SEGMENTS_BYTES)
		return;
	scratch->send.last = last;
	if (!submit(&scratch->head, connection, sizeof(struct mcrec_send) + used))
		COUNT(context_lost);
	scratch->send.first++;
	scratch->send.segments = 0;
	scratch->used = 0;
}

static __always_inline bool is_digit(__u8 byte)
{
	return byte >= '0' && byte <= '9';
}

/*
 * "VALUE <key> <flags> <bytes>\r\n" or "VA <bytes> <flags>\r\n": the next buffer
 * is the value. But the reply to a counter has its value, a number of up to 20
 * digits, in the same buffer as its header.
 */
static __always_inline bool is_value_header(const __u8 *bytes, __u64 length)
{
	__u64 value;

	if (length < 6 || bytes[0] != 'V' || bytes[1] != 'A')
		return false;
	if (bytes[(length - 1) & (MCREC_SEGMENT_WHOLE - 1)] != '\n')
		return false;
	if (bytes[2] != ' ')
		return bytes[2] == 'L' && bytes[3] == 'U' && bytes[4] == 'E' && bytes[5] == ' ';
	value = bytes[3] - '0';
	if (is_digit(bytes[4])) {
		value = value * 10 + bytes[4] - '0';
		if (is_digit(bytes[5]))
			return true;
	}
	return length < value + 3 ||
	       bytes[(length - value - 3) & (MCREC_SEGMENT_WHOLE - 1)] != '\n';
}

/* Copies bytes that the executable has among its constants, and at most eight of them:
 * mostly they are those of the last time. */
static __always_inline long copy_constant(struct scratch *scratch, __u8 *to, __u64 base)
{
	if (scratch->constant_at != base) {
		scratch->constant_at = 0;
		if (bpf_probe_read_user(&scratch->constant, sizeof(scratch->constant),
					(const void *)base))
			return -1;
		scratch->constant_at = base;
	}
	*(__u64 *)to = scratch->constant;
	return 0;
}

static __always_inline bool is_constant(__u64 base, __u64 length)
{
	enum { COPIED = sizeof(((struct scratch *)0)->constant) };

	return length <= COPIED && base >= readonly_start && base + COPIED <= readonly_end;
}

static __always_inline long copy_segment(struct scratch *scratch, __u8 *to, __u64 base,
					 __u64 length)
{
	if (is_constant(base, length))
		return copy_constant(scratch, to, base);
	return bpf_probe_read_user(to, length, (const void *)base);
}

static __always_inline void add_segment(struct scratch *scratch, __u64 base, __u64 length)
{
	struct mcrec_segment *segment;
	bool value = scratch->value_follows;
	__u64 used, head = length, tail = 0;
	__u8 *bytes;

	if (scratch->used > SEGMENTS_BYTES - SEGMENT_BYTES)
		submit_send(scratch, false);
	used = scratch->used;
	barrier_var(used);
	if (used > SEGMENTS_BYTES - SEGMENT_BYTES)	/* never; the verifier cannot know */
		return;
	segment = (struct mcrec_segment *)(scratch->segments + used);
	bytes = scratch->segments + used + sizeof(*segment);
	barrier_var(head);
	if (value) {
		head = 0;
	} else if (head > MCREC_SEGMENT_WHOLE) {
		head = tail = MCREC_SEGMENT_END;
		if (bpf_probe_read_user(bytes, MCREC_SEGMENT_END, (const void *)base) ||
		    bpf_probe_read_user(bytes + MCREC_SEGMENT_END, MCREC_SEGMENT_END,
					(const void *)(base + length - MCREC_SEGMENT_END))) {
			COUNT(argument_unreadable);
			head = tail = 0;
		}
	} else if (copy_segment(scratch, bytes, base, head)) {
		COUNT(argument_unreadable);
		head = 0;
	}
	/* A packet of the binary protocol; its value may begin with anything. */
	if (bytes[0] == 0x81 && head == 24)
		scratch->binary = true;
	scratch->value_follows = !scratch->binary && !tail && is_value_header(bytes, head);
	segment->length = length;
	segment->head = head;
	segment->tail = tail;
	scratch->used = used + sizeof(*segment) + head + tail;
	scratch->sent += length;
	scratch->send.segments++;
}

static long add_iovec(__u64 index, void *unused)
{
	struct scratch *scratch = scratch_here();
	__u64 i = index % IOVECS, count;
	struct iovec *iovecs;

	if (!scratch)
		return 1;
	iovecs = scratch->message.iovecs;
	if (!i && (index || !scratch->iovecs_fetched)) {
		count = scratch->iovec_count - index;
		barrier_var(count);
		if (count > IOVECS)
			count = IOVECS;
		if (bpf_probe_read_user(iovecs, count * sizeof(struct iovec),
					(const void *)(scratch->iovecs_at +
						       index * sizeof(struct iovec)))) {
			COUNT(argument_unreadable);
			return 1;
		}
	}
	if (iovecs[i].iov_len)
		add_segment(scratch, iovecs[i].iov_base, iovecs[i].iov_len);
	return scratch->sent >= scratch->send.accepted;
}

static __always_inline void add_message(struct scratch *scratch, __u64 at)
{
	struct message *message = &scratch->message;
	__u64 iovecs_at = at + __builtin_offsetof(struct message, iovecs);
	__u64 count;

	scratch->iovecs_fetched = true;
	if (bpf_probe_read_user(message, sizeof(*message), (const void *)at)) {
		/* There may be no memory where the buffers' addresses would be. */
		scratch->iovecs_fetched = false;
		if (bpf_probe_read_user(&message->header, sizeof(message->header),
					(const void *)at)) {
			COUNT(argument_unreadable);
			return;
		}
	}
	if (message->header.msg_iov != iovecs_at)
		scratch->iovecs_fetched = false;
	count = message->header.msg_iovlen;
	if (count > IOVECS_MAX)
		count = IOVECS_MAX;
	scratch->iovecs_at = message->header.msg_iov;
	scratch->iovec_count = count;
	bpf_loop(count, add_iovec, 0, 0);
}

static __always_inline int sent(struct pt_regs *regs, __u64 accepted, bool vector)
{
	__u32 descriptor = PT_REGS_PARM1_SYSCALL(regs);
	struct connection *connection = connection_of(descriptor);
	struct scratch *scratch = scratch_here();
	__u64 argument = PT_REGS_PARM2_SYSCALL(regs);

	if (!connection) {
		COUNT(context_lost);
		return 0;
	}
	if (!scratch || !is_of_client(connection, descriptor) || connection->step == SKIPPING)
		return 0;
	if (connection->step != UNCLEAR && vector)
		connection->step = READY;
	fill_head(&scratch->head, descriptor, INODE_OF(connection->owner), MCREC_SEND);
	scratch->send.accepted = accepted;
	scratch->send.first = 0;
	scratch->send.segments = 0;
	scratch->sent = 0;
	scratch->used = 0;
	scratch->value_follows = false;
	scratch->binary = false;
	if (vector)
		add_message(scratch, argument);
	else
		add_segment(scratch, argument, PT_REGS_PARM3_SYSCALL(regs));
	submit_send(scratch, true);
	return 0;
}

static __always_inline bool is_target(void)
{
	struct bpf_pidns_info process = {};

	if (!namespace_inode)
		return bpf_get_current_pid_tgid() >> 32 == target_tgid;
	return !bpf_get_ns_current_pid_tgid(namespace_device, namespace_inode, &process,
					    sizeof(process)) &&
	       process.tgid == target_tgid;
}

static __always_inline int returned(struct pt_regs *regs, long result)
{
	if (result < 0)
		return 0;
	switch ((int)SYSCALL_NUMBER(regs)) {
	case SYS_READ:
		return result ? received(regs, result, MCREC_READ) : 0;
	case SYS_RECVFROM:
		return result ? received(regs, result, MCREC_DATAGRAM) : 0;
	case SYS_SENDMSG:
		return result ? sent(regs, result, true) : 0;
	case SYS_WRITE:
		return result ? sent(regs, result, false) : 0;
	case SYS_ACCEPT:
	case SYS_ACCEPT4:
		return opened(result, true);
	case SYS_SOCKET:
		return opened(result, false);
	case SYS_CLOSE:
		return closed(PT_REGS_PARM1_SYSCALL(regs));
	}
	return 0;
}

/* Runs at the end of every system call of every process. */
SEC("tp_btf/sys_exit") int BPF_PROG(sys_exit, struct pt_regs *regs, long result)
{
	struct run run;

	if (!recording || !is_target())
		return 0;
	run = begin_run(0);
	returned(regs, result);
	return end_run(run);
}
