// holdfast vm (or qm): the virtual machines of this host, in Proxmox's words.
import type { Command } from 'commander';
import { addVmAgentCommands } from './vm-agent.ts';
import { addVmBackupCommand } from './vm-backup.ts';
import { addVmConfigCommands } from './vm-config.ts';
import { addVmListCommands } from './vm-list.ts';
import { addVmPowerCommands } from './vm-power.ts';
import { addVmRestoreCommand } from './vm-restore.ts';
import { addVmSnapshotCommands } from './vm-snapshot.ts';
import { addVmTerminalCommand } from './vm-terminal.ts';
import { addVmVolumeCommands } from './vm-volumes.ts';
import { addVmWatchCommand } from './vm-watch.ts';

export function addVmCommands(program: Command): void {
  const vm = program.command('vm').alias('qm').description('virtual machines of this host');
  addVmListCommands(vm);
  addVmConfigCommands(vm);
  addVmPowerCommands(vm);
  addVmVolumeCommands(vm);
  addVmSnapshotCommands(vm);
  addVmAgentCommands(vm);
  addVmTerminalCommand(vm);
  addVmWatchCommand(vm);
  addVmBackupCommand(vm);
  addVmRestoreCommand(vm);
}
