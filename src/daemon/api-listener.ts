// A listener with an API behind it: its requests are counted by route, probes are answered beside it, and it ends when its last answer is given.
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { ServerCertificate } from './certificate.ts';
import type { HealthSources } from './health.ts';
import { closeListener, createListener, handUpgradesTo, listen, replaceCertificate } from './listener.ts';
import type { Metrics } from './metrics.ts';
import { withProbes } from './probes.ts';

/** What answers that are under way get when the server ends. */
const ANSWER_GRACE_MS = 5000;

export interface ApiListenerParts {
  readonly api: FastifyInstance;
  readonly certificate: ServerCertificate;
  readonly host: string;
  readonly port: number;
  /** How another address is chosen, for the error when this one is taken. */
  readonly option: string;
  readonly metrics: Metrics;
  readonly health: HealthSources;
  readonly onBug: (error: unknown) => void;
}

export interface ApiListener {
  readonly address: AddressInfo;
  /** New connections get this certificate. */
  secure(certificate: ServerCertificate): void;
}

/** Listens. What ends it again is put on `closing`. @throws `bad-argument` when the address is not this machine's, or taken. */
export async function openApiListener(parts: ApiListenerParts, closing: (() => unknown)[]): Promise<ApiListener> {
  const { api, certificate, host, port, option, metrics, health, onBug } = parts;
  closing.push(() => api.close());
  const routes = new WeakMap<IncomingMessage, string>();
  api.addHook('onRequest', async ({ raw, routeOptions }) => void routes.set(raw, routeOptions.url ?? 'other'));
  await api.ready();
  const probes = { metrics, health, routeOf: (request: IncomingMessage) => routes.get(request) ?? 'other' };
  const listener = createListener(
    certificate,
    withProbes((request, response) => api.routing(request, response), probes, onBug),
  );
  const address = await listen(listener, host, port, option);
  closing.push(() => closeListener(listener, ANSWER_GRACE_MS));
  handUpgradesTo(listener, (request, socket, head) => api.server.emit('upgrade', request, socket, head));
  return { address, secure: (next) => replaceCertificate(listener, next) };
}
