// The backup dialect: port 8007, as Proxmox Backup Server speaks it.
import { BACKUP_CREDENTIALS } from '../../auth/credentials.ts';
import { sendData, sendFailure } from './answer.ts';
import type { Dialect } from './dialect.ts';
import { ApiError, failureOf } from './failure.ts';
import { BACKUP_READING } from './read-parameter.ts';

export const BACKUP_DIALECT: Dialect = {
  title: 'Holdfast, backup dialect',
  securitySchemes: {
    token: {
      type: 'apiKey',
      in: 'header',
      name: 'Authorization',
      description: 'PBSAPIToken=USER@REALM!NAME:SECRET',
    },
    ticket: { type: 'apiKey', in: 'cookie', name: 'PBSAuthCookie' },
  },
  errorAnswer: {
    description: 'what is wrong, as plain text',
    content: { 'text/plain': { schema: { type: 'string' } } },
  },
  credentials: BACKUP_CREDENTIALS,
  reading: BACKUP_READING,
  delays: { unauthorizedMs: 3000, forbiddenMs: 500 },
  notAuthenticated: () => new ApiError(401, 'not-authenticated', 'authentication failed'),
  noSuchMethod: (_method, path) => new ApiError(404, 'not-found', `Path '${path}' not found.`, { noSuchMethod: true }),
  noSuchFormat: (format) => new ApiError(400, 'bad-argument', `Unsupported output format '${format}'.`),
  failureOf,
  sendData,
  sendFailure,
};
