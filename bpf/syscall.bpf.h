/* SPDX-License-Identifier: (MIT OR Apache-2.0) */
/* The system calls that move a client's bytes, begin or end a connection, by number. */
#ifndef SYSCALL_BPF_H
#define SYSCALL_BPF_H

#if defined(__TARGET_ARCH_x86)
enum {
	SYS_READ = 0,
	SYS_WRITE = 1,
	SYS_CLOSE = 3,
	SYS_SOCKET = 41,
	SYS_ACCEPT = 43,
	SYS_RECVFROM = 45,
	SYS_SENDMSG = 46,
	SYS_ACCEPT4 = 288,
};
#define SYSCALL_NUMBER(regs) ((regs)->orig_ax)
#elif defined(__TARGET_ARCH_arm64)
enum {
	SYS_CLOSE = 57,
	SYS_READ = 63,
	SYS_WRITE = 64,
	SYS_SOCKET = 198,
	SYS_ACCEPT = 202,
	SYS_RECVFROM = 207,
	SYS_SENDMSG = 211,
	SYS_ACCEPT4 = 242,
};
#define SYSCALL_NUMBER(regs) ((regs)->syscallno)
#endif

#endif
