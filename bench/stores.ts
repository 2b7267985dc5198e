// Repositories of all contenders in the states that questions start from, and their contender for a backup or a restore.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Contender } from './contender.ts';
import { type BackupOptions, type BackupReport, backup, createStore, holdfastMissing, readBackup } from './holdfast.ts';
import type { Command } from './measure.ts';
import type { Peer } from './peers.ts';
import { folderSize, requireSame, type Workspace } from './workspace.ts';

/** Runs a command that is not measured; throws with what it said. */
export function runPlain(command: Command): string {
  return execFileSync(command.argv[0], command.argv.slice(1), {
    cwd: command.cwd,
    env: { ...process.env, ...command.env },
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Empties the home folder and makes an empty store of ours in it; returns the store. */
export function emptyStore(workspace: Workspace, home: string): string {
  const repository = join(workspace.fresh(home), 'repository');
  runPlain(createStore(repository));
  return repository;
}

/** A store of ours with one backup of the image, which is reported. */
export function storeWith(workspace: Workspace, home: string, image: string, options?: BackupOptions): BackupReport {
  return readBackup(runPlain(backup(emptyStore(workspace, home), image, options)));
}

/** Brings `home` into the state that `make` gives it: by making it the first time, by copying it back later. */
export function startFrom(workspace: Workspace, home: string, make: () => void): void {
  if (existsSync(workspace.path(`${home}.kept`))) {
    workspace.reset(home);
  } else {
    make();
    workspace.keep(home);
  }
}

/** A full backup of ours into an empty store. Its `storedBytes` is the larger of file lengths and disk blocks. */
export function ourFullBackup(workspace: Workspace, name: string, image: string, options: BackupOptions): Contender {
  const home = 'ours';
  return {
    name,
    missing: holdfastMissing(),
    before: () => {
      emptyStore(workspace, home);
    },
    reads: () => [image],
    commands: () => [backup(workspace.path(home, 'repository'), image, options)],
    after: ([stdout]) => ({ ...readBackup(stdout).figures, storedBytes: ourSize(workspace, home) }),
  };
}

export function ourSize(workspace: Workspace, home: string): number {
  const { lengthBytes, diskBytes } = folderSize(workspace.path(home, 'repository'));
  return Math.max(lengthBytes, diskBytes);
}

/** Empties the peer's home and makes an empty repository there. */
export function createPeer(workspace: Workspace, peer: Peer): string {
  const home = workspace.fresh(homeOf(peer));
  if (peer.create !== undefined) runPlain(peer.create(home));
  return home;
}

/** A peer's full backup. Its `storedBytes` is the sum of file lengths, the smaller measure. */
export function peerFullBackup(workspace: Workspace, peer: Peer, image: string): Contender {
  const home = workspace.path(homeOf(peer));
  return {
    name: peer.name,
    missing: peer.missing,
    before: () => {
      createPeer(workspace, peer);
    },
    reads: () => [image],
    commands: () => [peer.backup(home, image)],
    after: () => {
      const { lengthBytes, diskBytes } = peer.stored(home);
      workspace.remove(homeOf(peer));
      return { storedBytes: lengthBytes, diskBytes };
    },
  };
}

/** A peer's backup of `image` onto one of `base`; `storedBytes` is the growth. */
export function peerSecondBackup(workspace: Workspace, peer: Peer, base: string, image: string): Contender {
  const home = workspace.path(homeOf(peer));
  let before = { lengthBytes: 0, diskBytes: 0 };
  return {
    name: peer.name,
    missing: peer.missing,
    before: () => {
      const make = (): string => runPlain(peer.backup(createPeer(workspace, peer), base));
      if (peer.cutsAtRandom === true) make();
      else startFrom(workspace, homeOf(peer), make);
      before = peer.stored(home);
    },
    reads: () => [image],
    commands: () => [peer.backup(home, image)],
    after: () => {
      const { lengthBytes, diskBytes } = peer.stored(home);
      return { storedBytes: lengthBytes - before.lengthBytes, diskBytes: diskBytes - before.diskBytes };
    },
  };
}

/** A peer's restore of the one backup in its repository, proved with cmp. */
export function peerRestore(workspace: Workspace, peer: Peer, image: string): Contender {
  const home = workspace.path(homeOf(peer));
  const target = `${homeOf(peer)}-restored`;
  return {
    name: peer.name,
    missing: peer.missing,
    before: () => {
      if (!existsSync(home)) runPlain(peer.backup(createPeer(workspace, peer), image));
      workspace.fresh(target);
    },
    reads: () => [home],
    commands: () => [peer.restore(home, image, workspace.path(target))],
    after: () => {
      requireSame(image, workspace.path(target, basename(image)));
      workspace.remove(target);
      return {};
    },
  };
}

const homeOf = (peer: Peer): string => peer.name.replaceAll(/\W+/g, '-');
