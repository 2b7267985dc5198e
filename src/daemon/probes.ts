// Requests that are no part of the API: health for anybody, figures for programs on this machine. Everything else goes on to the API, and all
// of it is counted.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { type HealthSources, live, ready } from './health.ts';
import type { Metrics } from './metrics.ts';

const LOOPBACK = /^(127\.|::1$|::ffff:127\.)/;
const KNOWN_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']);

/** `routeOf` names the pattern that an answered request of the API matched. */
export function withProbes(
  api: RequestListener,
  parts: { metrics: Metrics; health: HealthSources; routeOf: (request: IncomingMessage) => string },
  onBug: (error: unknown) => void,
): RequestListener {
  return (request, response) => {
    const startedMs = performance.now();
    const [path] = (request.url ?? '/').split('?', 1);
    const probe = probeOf(path, request);
    response.once('close', () => {
      const method = KNOWN_METHODS.has(request.method ?? '') ? (request.method as string) : 'other';
      const route = probe === undefined ? parts.routeOf(request) : path;
      parts.metrics.request(method, route, response.statusCode, (performance.now() - startedMs) / 1000);
    });
    if (probe === undefined) api(request, response);
    else
      probe(response, parts.metrics, parts.health).catch((error: unknown) => {
        onBug(error);
        response.destroy();
      });
  };
}

type Probe = (response: ServerResponse, metrics: Metrics, health: HealthSources) => Promise<void>;

function probeOf(path: string, request: IncomingMessage): Probe | undefined {
  if (request.method !== 'GET') return undefined;
  if (path === '/health/live') return async (response) => json(response, live());
  if (path === '/health/ready') return async (response, _, health) => json(response, ready(health));
  if (path !== '/metrics') return undefined;
  if (!LOOPBACK.test(request.socket.remoteAddress ?? ''))
    return async (response) => json(response, { status: 403, body: { message: 'figures are for this machine alone' } });
  return async (response, metrics) => {
    const text = await metrics.text();
    response.writeHead(200, { 'content-type': metrics.contentType }).end(text);
  };
}

function json(response: ServerResponse, { status, body }: { status: number; body: unknown }): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
}
