/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/* What is behind a descriptor of the current process. */
#ifndef SOCKET_BPF_H
#define SOCKET_BPF_H

#define PORTS_MAX 64

/* Local ports of the target's clients; set before loading. */
const volatile __u16 listening_ports[PORTS_MAX] = {};
const volatile __u32 listening_port_count = 0;

static __always_inline struct file *file_of(__u32 descriptor)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd);
	struct file *file = 0;

	if (descriptor < BPF_CORE_READ(table, max_fds))
		bpf_probe_read_kernel(&file, sizeof(file), files + descriptor);
	return file;
}

/* 0 for what is not a socket. */
static __always_inline __u32 socket_inode_of(struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	return BPF_CORE_READ(inode, i_ino);
}

static __always_inline bool is_listening_port(__u16 port)
{
	for (__u32 i = 0; i < PORTS_MAX; i++)
		if (i < listening_port_count && listening_ports[i] == port)
			return true;
	return false;
}

/* Whether a socket that was there before the recording is a client's. */
static __always_inline bool is_client(struct sock *sock)
{
	enum { LISTENING = 10 };	/* TCP_LISTEN */
	__u16 family = BPF_CORE_READ(sock, __sk_common.skc_family);

	if (family == AF_INET || family == AF_INET6)
		return BPF_CORE_READ(sock, __sk_common.skc_state) != LISTENING &&
		       is_listening_port(BPF_CORE_READ(sock, __sk_common.skc_num));
	/* An accepted socket has its listener's address, one that connected
	 * to elsewhere has none. */
	return family == AF_UNIX && BPF_CORE_READ((struct unix_sock *)sock, addr);
}

static __always_inline void fill_address(struct mcrec_address *address, struct sock *sock)
{
	struct in6_addr *ipv6;

	address->family = BPF_CORE_READ(sock, __sk_common.skc_family);
	if (address->family == AF_INET) {
		address->port = __builtin_bswap16(BPF_CORE_READ(sock, __sk_common.skc_dport));
		*(__be32 *)address->ip = BPF_CORE_READ(sock, __sk_common.skc_daddr);
	} else if (address->family == AF_INET6 &&
		   bpf_core_field_exists(struct sock_common, skc_v6_daddr)) {
		address->port = __builtin_bswap16(BPF_CORE_READ(sock, __sk_common.skc_dport));
		ipv6 = __builtin_preserve_access_index(&sock->__sk_common.skc_v6_daddr);
		bpf_probe_read_kernel(address->ip, sizeof(address->ip), ipv6);
	}
}

#endif
