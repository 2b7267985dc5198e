// The API of the guest dialect.
import type { FastifyInstance } from 'fastify';
import { type ApiOptions, serveMethods } from '../serve-methods.ts';
import { GUEST_DIALECT } from './dialect.ts';
import { GUEST_METHODS } from './routes/methods.ts';
import type { GuestServices } from './services.ts';

/** Builds the API; the caller listens, and closes it. */
export function createGuestApi(services: GuestServices, options: ApiOptions): FastifyInstance {
  return serveMethods({ dialect: GUEST_DIALECT, methods: GUEST_METHODS, services, kept: {} }, options);
}
