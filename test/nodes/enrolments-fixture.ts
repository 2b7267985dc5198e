// Enrolments over a real state database.
import { Enrolments } from '../../src/nodes/enrolments.ts';
import { nodeTables } from '../../src/state/node-tables.ts';
import type { Fixture } from '../auth/access-fixture.ts';

export function openEnrolments(
  { access, stores, state, throttle, failures, clock }: Fixture,
  ownNames: readonly string[] = [],
) {
  const store = nodeTables(state.db);
  const { tokens, audit } = stores;
  const parts = { store, access, tokens, throttle, audit, failures, transactions: state, clock: clock.read, ownNames };
  return { store, enrolments: new Enrolments(parts) };
}
