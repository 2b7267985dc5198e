// Methods as one Fastify instance: paths are cleaned, callers known, parameters checked, and every answer given in the dialect.

import { setTimeout as delay } from 'node:timers/promises';
import Fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';
import type { Identity } from '../auth/authenticator.ts';
import { checkAccess, checkAccessOfPath } from './check-access.ts';
import { CODED_ERRORS, UNLABELLED } from './dialect/answer.ts';
import type { Delays, Dialect, Format } from './dialect/dialect.ts';
import { ApiError } from './dialect/failure.ts';
import { givenInBody, givenInQuery, readParameters } from './dialect/merge-parameters.ts';
import { checkPath, collapseSlashes, MAX_PATH_BYTES } from './dialect/request-path.ts';
import { ByteAnswer } from './downloads/byte-answer.ts';
import { sendBytes } from './downloads/send-bytes.ts';
import { type AnyMethod, type BaseCall, pathParameters } from './method.ts';
import { describeApi } from './openapi/describe-api.ts';
import { rootIndex } from './routes/root-index.ts';
import type { CommonServices } from './services.ts';
import { addUpgradeRoutes, type UpgradeRoute } from './upgrades.ts';

const MAX_BODY_BYTES = 512 * 1024;
const FORMATS: readonly Format[] = ['json', 'extjs'];

/** What one listener serves. */
export interface Surface<Services extends CommonServices> {
  readonly dialect: Dialect;
  readonly methods: readonly AnyMethod[];
  readonly services: Services;
  /** What handlers get beside what every call has. */
  readonly kept: object;
}

export interface ApiOptions {
  /** Who guesses passwords waits; tests do not. */
  readonly delays?: Delays;
  /** Without it the API speaks plain HTTP: for tests, and behind a listener that has its own TLS. */
  readonly https?: { readonly key: string | Buffer; readonly cert: string | Buffer };
  /** Instead of the usual time that a caller has for each part of a download. */
  readonly downloadIdleMs?: number;
  /** Told of downloads that ended in the middle, for another reason than that the caller went away. */
  readonly onCut?: (error: Error) => void;
  /** Told of errors that nobody foresaw. */
  readonly onBug: (error: unknown, request?: { readonly method: string; readonly url: string }) => void;
}

export const LISTENER_LIMITS = {
  /** Connections at once; more are closed. */
  connections: 1024,
  /** A whole request takes no longer to arrive, and its head no longer than that. */
  requestMs: 60_000,
  headersMs: 20_000,
  keepAliveMs: 30_000,
} as const;

interface Origin {
  readonly startedMs: number;
  /** Undefined until the call may be routed. */
  readonly admitted?: { readonly identity: Identity | undefined };
}

/** Builds the API; the caller listens, and closes it. */
export function serveMethods<Services extends CommonServices>(
  surface: Surface<Services>,
  options: ApiOptions,
): FastifyInstance {
  const { dialect, services, kept } = surface;
  const { unauthorizedMs, forbiddenMs } = options.delays ?? dialect.delays;
  const methods = [...surface.methods, rootIndex(surface.methods)];
  const origins = new WeakMap<FastifyRequest, Origin>();

  const fail = async (request: FastifyRequest, reply: FastifyReply, error: unknown) => {
    const failure = dialect.failureOf(error);
    if (failure.code === 'internal')
      options.onBug(error, { method: request.method, url: request.url.split('?', 1)[0] as string });
    const { startedMs = performance.now(), admitted } = origins.get(request) ?? {};
    const waited = performance.now() - startedMs;
    if (failure.status === 401 && unauthorizedMs > waited) await delay(unauthorizedMs - waited);
    if (failure.status === 403 && forbiddenMs > 0) await delay(forbiddenMs);
    if (request.raw.complete === false || request.raw.destroyed) reply.header('connection', 'close');
    const wantsCodes = request.headers.accept?.includes(CODED_ERRORS) ?? false;
    const call = { format: formatOf(request.url), wantsCodes, isRouted: admitted !== undefined };
    await dialect.sendFailure(reply, call, failure);
  };

  const common = {
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: LISTENER_LIMITS.requestMs,
    keepAliveTimeout: LISTENER_LIMITS.keepAliveMs,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: MAX_PATH_BYTES },
    rewriteUrl: ({ url }: { url?: string | undefined }) => collapseSlashes(url ?? '/'),
    frameworkErrors: (_error: Error, request: FastifyRequest, reply: FastifyReply): void => {
      fail(request, reply, new ApiError(400, 'bad-name', 'invalid path')).catch(options.onBug);
    },
  } satisfies FastifyServerOptions;
  const app: FastifyInstance =
    options.https === undefined
      ? Fastify(common)
      : (Fastify({ ...common, https: { ...options.https, minVersion: 'TLSv1.2' } }) as unknown as FastifyInstance);
  app.server.headersTimeout = LISTENER_LIMITS.headersMs;
  app.server.maxConnections = LISTENER_LIMITS.connections;

  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
    done(null, body);
  });

  app.addHook('onSend', (_request, reply, payload, done) => {
    if (reply.getHeader('content-type') === UNLABELLED) reply.removeHeader('content-type');
    done(null, payload);
  });

  /** Before the body is read: throws for what must not be routed, and for who may not do what the path says. */
  const admit = async (request: FastifyRequest, method: AnyMethod | undefined): Promise<void> => {
    const startedMs = performance.now();
    origins.set(request, { startedMs });
    checkPath(request.url);
    checkFormat(dialect, request.url);
    const isForAll = method !== undefined && 'world' in method.access;
    const identity = isForAll ? undefined : await identify(dialect, services, request);
    origins.set(request, { startedMs, admitted: { identity } });
    if (method !== undefined) checkAccessOfPath(method, pathValues(request, method), identity, services.permissions);
  };

  const parametersOf = (request: FastifyRequest, method: AnyMethod): Record<string, unknown> =>
    readParameters(dialect.reading, method.parameters, pathValues(request, method), [
      ...(hasBody(request) && !method.takesBytes
        ? [givenInBody(request.headers['content-type'], request.body as Buffer | undefined)]
        : []),
      givenInQuery(request.url.includes('?') ? request.url.slice(request.url.indexOf('?') + 1) : ''),
    ]);

  /** `isAnswered` without: a call that is let in is answered by somebody else. */
  const handle = async (
    request: FastifyRequest,
    reply: FastifyReply,
    method: AnyMethod,
    isAnswered = true,
  ): Promise<boolean> => {
    try {
      const identity = origins.get(request)?.admitted?.identity;
      const parameters = parametersOf(request, method);
      const { onlyOwn } = checkAccess(method, parameters, identity, services.permissions);
      const beside = new Map<string, unknown>();
      const call: BaseCall = {
        ...kept,
        services,
        identity,
        address: request.ip,
        signal: goneSignal(reply),
        onlyOwn,
        body: method.takesBytes ? bytesIn(request) : Buffer.alloc(0),
        attach: (name, value) => {
          beside.set(name, value);
        },
        requestHeader: (name) => {
          const value = request.headers[name];
          return typeof value === 'string' ? value : undefined;
        },
        header: (name, value) => {
          reply.header(name, value);
        },
      };
      const data: unknown = await method.handler(call, parameters);
      if (!isAnswered) return true;
      if (data instanceof ByteAnswer) await sendBytes(reply, formatOf(request.url), data, { onCut: options.onCut });
      else await dialect.sendData(reply, formatOf(request.url), data, beside);
      return true;
    } catch (error) {
      await fail(request, reply, error);
      return false;
    }
  };

  const upgradeRoute = (method: AnyMethod, upgrade: NonNullable<AnyMethod['upgrade']>, url: string): UpgradeRoute => ({
    url,
    onRequest: (request) => admit(request, method),
    handler: async (request, reply) => void (await handle(request, reply, method)),
    check: (request, reply) => handle(request, reply, method, false),
    upgrade: (request, socket) => {
      const { identity } = (origins.get(request) as Origin).admitted as { readonly identity: Identity };
      const { authId } = identity;
      const isStillGood = async (): Promise<boolean> => {
        try {
          return (await identify(dialect, services, request)).authId === authId;
        } catch (error) {
          if (error instanceof ApiError && error.status === 401) return false;
          throw error;
        }
      };
      return upgrade(
        { ...kept, services },
        parametersOf(request, method),
        { authId, address: request.ip, isStillGood },
        socket,
      );
    },
  });
  const upgradeRoutes: UpgradeRoute[] = [];

  for (const method of methods) {
    const url = routedPath(method);
    for (const format of FORMATS) {
      if (method.upgrade !== undefined) {
        upgradeRoutes.push(upgradeRoute(method, method.upgrade, `/api2/${format}${url}`));
        continue;
      }
      app.route({
        method: method.method,
        url: `/api2/${format}${url}`,
        bodyLimit: method.maxBodyBytes ?? MAX_BODY_BYTES,
        onRequest: (request, _reply, done) => {
          admit(request, method).then(() => done(), done);
        },
        handler: async (request, reply) => void (await handle(request, reply, method)),
      });
    }
  }
  addUpgradeRoutes(app, upgradeRoutes);

  const description = JSON.stringify(describeApi(dialect, methods, services.version));
  for (const url of ['/api2/openapi.json', '/api2/json/openapi.json']) {
    app.get(url, async (_request, reply) => {
      await reply.type('application/json;charset=UTF-8').send(description);
    });
  }

  app.setNotFoundHandler({ preHandler: [] }, async (request, reply) => {
    try {
      await admit(request, undefined);
      const [path = ''] = request.url.split('?', 1);
      throw dialect.noSuchMethod(request.method, path.slice(0, MAX_PATH_BYTES));
    } catch (error) {
      await fail(request, reply, error);
    }
  });
  // What Fastify refuses itself: a body over the limit, or one that is shorter than it says.
  app.setErrorHandler(async (error, request, reply) => {
    const { code } = error as { code?: string };
    const isTooLarge = code === 'FST_ERR_CTP_BODY_TOO_LARGE';
    const why = isTooLarge ? new ApiError(400, 'too-large', 'Request body too large') : error;
    await fail(request, reply, why);
  });
  return app;
}

/** `/access/users/{userid}` -> `/access/users/:p0`: names with a dash would end at it. The last takes the rest where the method says so. */
function routedPath({ path, takesRestOfPath }: AnyMethod): string {
  let count = 0;
  const routed = path.replace(/\{[^}]+\}/g, () => `:p${count++}`);
  return takesRestOfPath ? routed.replace(/:p\d+$/, '*') : routed;
}

function pathValues(request: FastifyRequest, method: AnyMethod): Map<string, string> {
  const values = request.params as Record<string, string>;
  return new Map(
    pathParameters(method.path).map((name, place) => [name, (values[`p${place}`] ?? values['*']) as string]),
  );
}

function hasBody({ method }: FastifyRequest): boolean {
  return method !== 'GET';
}

/** @throws ApiError 400 for a body that says it is something else. */
function bytesIn({ headers, body }: FastifyRequest): Buffer {
  const kind = headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? 'application/octet-stream';
  if (kind !== 'application/octet-stream')
    throw new ApiError(
      400,
      'bad-argument',
      `send the bytes as application/octet-stream, not as ${JSON.stringify(kind)}`,
    );
  return body instanceof Buffer ? body : Buffer.alloc(0);
}

function formatOf(url: string): Format {
  return url.startsWith('/api2/extjs') ? 'extjs' : 'json';
}

/** @throws ApiError 400 for a format that there is not. */
function checkFormat(dialect: Dialect, url: string): void {
  const [, format] = /^\/api2\/([^/?]+)(?:[/?]|$)/.exec(url) ?? [];
  if (format === undefined || FORMATS.includes(format as Format)) return;
  throw dialect.noSuchFormat(format.slice(0, 64));
}

async function identify(
  dialect: Dialect,
  services: CommonServices,
  { headers, method, ip }: FastifyRequest,
): Promise<Identity> {
  const csrf = headers.csrfpreventiontoken;
  try {
    return await services.authenticator.authenticate(
      {
        authorization: headers.authorization,
        cookie: headers.cookie,
        csrfToken: typeof csrf === 'string' ? csrf : undefined,
        method,
        address: ip,
        style: dialect.credentials,
      },
      services.clock(),
    );
  } catch (error) {
    if ((error as { code?: unknown }).code === 'not-authenticated')
      throw dialect.notAuthenticated(headers.authorization !== undefined || headers.cookie !== undefined);
    throw error;
  }
}

/** Aborts when the caller goes away before the answer. */
function goneSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort(new Error('the caller went away'));
  });
  return gone.signal;
}
