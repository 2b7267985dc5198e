// Which file has which command, in the order of the help. A command line loads that of its own command alone: loading all of them took three times
// as long as a short backup's own work.
import type { Command } from 'commander';

interface CommandFile {
  /** What may stand first on the command line: names and aliases of the commands that `load` adds. */
  readonly words: readonly string[];
  readonly load: () => Promise<(program: Command) => void>;
}

export const COMMAND_FILES: readonly CommandFile[] = [
  { words: ['datastore'], load: async () => (await import('./commands/datastore.ts')).addDatastoreCommands },
  { words: ['backup'], load: async () => (await import('./commands/backup.ts')).addBackupCommand },
  { words: ['import'], load: async () => (await import('./commands/import.ts')).addImportCommand },
  { words: ['restore'], load: async () => (await import('./commands/restore.ts')).addRestoreCommand },
  { words: ['serve-nbd'], load: async () => (await import('./commands/serve-nbd.ts')).addServeNbdCommand },
  { words: ['qmrestore'], load: async () => (await import('./commands/vm-restore.ts')).addQmRestoreCommand },
  { words: ['server'], load: async () => (await import('./commands/server.ts')).addServerCommand },
  { words: ['node'], load: async () => (await import('./commands/node.ts')).addNodeCommands },
  { words: ['agent'], load: async () => (await import('./commands/agent.ts')).addAgentCommand },
  { words: ['job'], load: async () => (await import('./commands/job.ts')).addJobCommands },
  { words: ['snapshot'], load: async () => (await import('./commands/snapshot.ts')).addSnapshotCommands },
  { words: ['vm', 'qm'], load: async () => (await import('./commands/vm.ts')).addVmCommands },
  { words: ['prune'], load: async () => (await import('./commands/prune.ts')).addPruneCommand },
  { words: ['anomaly'], load: async () => (await import('./commands/anomaly.ts')).addAnomalyCommands },
  { words: ['key'], load: async () => (await import('./commands/key.ts')).addKeyCommands },
  { words: ['user'], load: async () => (await import('./commands/user.ts')).addUserCommands },
  { words: ['token'], load: async () => (await import('./commands/token.ts')).addTokenCommands },
  { words: ['acl', 'role'], load: async () => (await import('./commands/acl.ts')).addAclCommands },
  { words: ['pool'], load: async () => (await import('./commands/pool.ts')).addPoolCommands },
  { words: ['tfa'], load: async () => (await import('./commands/tfa.ts')).addTfaCommands },
  { words: ['audit'], load: async () => (await import('./commands/audit.ts')).addAuditCommands },
  { words: ['notify'], load: async () => (await import('./commands/notify.ts')).addNotifyCommands },
];

/** Adds the command that the words of a command line ask for, or all of them where it asks for none that there is (help, a slip of the pen). */
export async function addCommands(program: Command, words: readonly string[]): Promise<void> {
  const [asked] = program.parseOptions([...words]).operands;
  const wanted = COMMAND_FILES.filter((file) => asked !== undefined && file.words.includes(asked));
  for (const { load } of wanted.length > 0 ? wanted : COMMAND_FILES) (await load())(program);
}
