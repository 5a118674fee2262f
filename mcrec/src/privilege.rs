//! What mcrec may do once it is attached: write into one folder, and nothing else.
//!
//! From then on it reads what clients sent, which is to say what anyone may have
//! written. Whoever found a hole in that would get a process that can neither open
//! a file elsewhere, nor reach another process, nor begin a connection.

use std::os::fd::BorrowedFd;

use anyhow::{Context, Result, ensure};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};
use rustix::{
    fs::{Gid, Uid, fstat},
    process::{DumpableBehavior, geteuid, set_dumpable_behavior},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
        clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
        set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
        set_thread_res_uid,
    },
};

use crate::host::{self, Host};

/// The newest Landlock whose rights were tried; a kernel with an older one enforces
/// those it has.
const LANDLOCK: ABI = ABI::V7;

/// Drops all privileges but that to write into `folder`, for good: root becomes the
/// owner of the folder, no capability is left, and Landlock shuts off other files,
/// TCP, and the processes outside. Returns whether other files are out of reach, which
/// is not so where mcrec stays root and the kernel has no Landlock.
///
/// Credentials belong to a thread and pass to those that it starts, so this comes
/// before the first of them.
///
/// # Errors
///
/// When there are other threads already, or the kernel refuses.
pub(crate) fn drop(folder: BorrowedFd<'_>, host: &Host) -> Result<bool> {
    ensure!(host::threads()? == 1, "privileges must be dropped before threads are started");
    let kept =
        if host.maps_need_capability() { CapabilitySet::BPF } else { CapabilitySet::empty() };
    clear_bounding_set()?;
    clear_ambient_capability_set().context("cannot clear the ambient capabilities")?;
    become_owner(folder)?;
    let permitted = kept & current()?.permitted;
    let sets =
        CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).context("cannot drop capabilities")?;
    set_no_new_privs(true).context("cannot renounce new privileges")?;
    // Nor may the owner of the folder look into the memory of what was root, and so
    // at more than the capture says.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot hide memory")?;
    let confined = confine(folder).context("cannot confine mcrec to the captures' folder")?;
    Ok(confined || !geteuid().is_root())
}

fn current() -> Result<CapabilitySets> {
    capabilities(None).context("cannot read the capabilities")
}

/// Without the capability to do so the set stays, and is of no use: nothing is ever
/// executed, and no privilege could be gained by it.
fn clear_bounding_set() -> Result<()> {
    if !current()?.effective.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    let all = (0..u64::BITS).map(|bit| CapabilitySet::from_bits_retain(1 << bit));
    // The kernel may know more of them than we do, and ends the list with an error.
    for one in all.take_while(|one| capability_is_in_bounding_set(*one).is_ok()) {
        remove_capability_from_bounding_set(one).context("cannot limit capabilities")?;
    }
    Ok(())
}

/// Root, where it is allowed to, becomes who owns `folder`, and a member of no group
/// but the folder's. Anybody else stays who they are.
fn become_owner(folder: BorrowedFd<'_>) -> Result<()> {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    if !geteuid().is_root() || !current()?.effective.contains(needed) {
        return Ok(());
    }
    let owner = fstat(folder).context("cannot look at the captures' folder")?;
    let (user, group) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
    let cannot = || {
        format!(
            "cannot become the owner of the captures' folder (uid {}, gid {})",
            owner.st_uid, owner.st_gid
        )
    };
    // What is dropped is dropped by name, not by leaving root behind.
    set_keep_capabilities(true).context("cannot keep capabilities")?;
    set_thread_groups(&[]).with_context(cannot)?;
    set_thread_res_gid(group, group, group).with_context(cannot)?;
    set_thread_res_uid(user, user, user).with_context(cannot)?;
    set_keep_capabilities(false).context("cannot keep capabilities")
}

/// Nothing but regular files in `folder` from now on. Whether the kernel enforces that.
fn confine(folder: BorrowedFd<'_>) -> Result<bool, RulesetError> {
    let captures: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
        ReadFile | WriteFile | Truncate | MakeReg | RemoveFile | ReadDir
    });
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rule(PathBeneath::new(folder, captures))?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
