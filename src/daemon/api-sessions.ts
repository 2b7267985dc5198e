// Sessions of the object protocol as the API calls them: it has looked at rights and names, the sessions look at the rest.
import type { Identity, OpenDatastore, SessionCalls, SessionOpening } from '../api/services.ts';
import type { Manifest } from '../schema/manifest.ts';
import type { TransportSessions } from '../transport/server/sessions.ts';

export class ApiSessions implements SessionCalls {
  readonly #sessions: TransportSessions;

  constructor(sessions: TransportSessions) {
    this.#sessions = sessions;
  }

  async open({ name }: OpenDatastore, { authId }: Identity, request: SessionOpening) {
    const { kind, ns, group, fingerprint, times } = request;
    const [type, id] = group.split('/');
    const body = {
      kind,
      ns,
      'backup-type': type,
      'backup-id': id,
      ...(fingerprint !== undefined && { fingerprint }),
      ...(kind === 'read' && { 'backup-times': times }),
    };
    return { ...(await this.#sessions.open(name, { authId }, body)) };
  }

  async describe({ name }: OpenDatastore, { authId }: Identity, session: string) {
    return { ...(await this.#sessions.describe(name, { authId }, session)) };
  }

  async commit({ name }: OpenDatastore, { authId }: Identity, session: string, request: object) {
    const answer = await this.#sessions.commit(name, { authId }, session, request);
    return answer as { manifest: Manifest; warnings: readonly string[] };
  }

  async end({ name }: OpenDatastore, { authId }: Identity, session: string): Promise<void> {
    await this.#sessions.end(name, { authId }, session);
  }

  activity({ name }: OpenDatastore): { readonly read: number; readonly write: number } {
    return this.#sessions.activity(name);
  }
}
