// The API of the backup dialect: its methods, and what they keep between calls.
import type { FastifyInstance } from 'fastify';
import { BACKUP_DIALECT } from './dialect/backup-dialect.ts';
import { Downloads } from './downloads/downloads.ts';
import { METHODS } from './routes/methods.ts';
import { type ApiOptions, serveMethods } from './serve-methods.ts';
import type { ApiServices } from './services.ts';
import { SnapshotViews } from './snapshots/snapshot-views.ts';
import { Verdicts } from './snapshots/verdicts.ts';
import { Forecasts } from './stores/forecast.ts';

/** Builds the API; the caller listens, and closes it. `views` are what others look at too. */
export function createApi(
  services: ApiServices,
  { views = new SnapshotViews(), ...options }: ApiOptions & { readonly views?: SnapshotViews },
): FastifyInstance {
  const kept = {
    views,
    downloads: new Downloads(options.downloadIdleMs),
    verdicts: new Verdicts(),
    forecasts: new Forecasts(),
  };
  return serveMethods({ dialect: BACKUP_DIALECT, methods: METHODS, services, kept }, options);
}
