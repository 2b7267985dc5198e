// The configuration of an agent, for tests that change it.
import type { AgentConfig } from '../../../src/agent/service/agent-config.ts';

export const AGENT_CONFIG: AgentConfig = {
  host: 'backup.example',
  port: 8007,
  fingerprint: 'ab'.repeat(32),
  node: 'web1',
  user: 'agents@local',
  token: 'agent-web1',
  secret: 'secret',
  allowBackup: ['/'],
  allowRestore: ['/srv/restore'],
};
