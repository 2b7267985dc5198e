// What a supervisor or a load balancer asks. Alive: the process answers. Ready: it has started, is not ending, and its state can be read.

export type Phase = 'starting' | 'running' | 'stopping';

export interface HealthSources {
  phase(): Phase;
  /** Throws when the server's state cannot be read. */
  checkState(): void;
  datastores(): readonly { readonly isOpen: boolean }[];
}

export interface HealthAnswer {
  readonly status: 200 | 503;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Answers `/health/live`. */
export function live(): HealthAnswer {
  return { status: 200, body: { status: 'alive' } };
}

/** Answers `/health/ready`. Anybody may ask, so it names nothing; a datastore that is not open keeps the server from nothing else. */
export function ready(sources: HealthSources): HealthAnswer {
  const phase = sources.phase();
  let state: 'readable' | 'unreadable' = 'readable';
  let datastores = { open: 0, closed: 0 };
  try {
    sources.checkState();
    const all = sources.datastores();
    const open = all.filter(({ isOpen }) => isOpen).length;
    datastores = { open, closed: all.length - open };
  } catch {
    state = 'unreadable';
  }
  const isReady = phase === 'running' && state === 'readable';
  return { status: isReady ? 200 : 503, body: { status: isReady ? 'ready' : 'not ready', phase, state, datastores } };
}
