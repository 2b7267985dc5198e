// Hosts with an agent through a server's API, with the rights of the user or token of the address.
import { type Static, Type } from 'typebox';
import type { AuthId } from '../../schema/auth-id.ts';
import type { CommonOptions } from '../repository.ts';
import type { NodeAdministration, NodeView } from './node-administration.ts';
import { openLine } from './server-line.ts';

const LIST_PATIENCE_MS = 20_000;

const Row = Type.Object({
  name: Type.String(),
  status: Type.Union([Type.Literal('online'), Type.Literal('offline'), Type.Literal('unknown')]),
  'auth-id': Type.Optional(Type.String()),
  version: Type.Optional(Type.String()),
  'host-name': Type.Optional(Type.String()),
  address: Type.Optional(Type.String()),
  enrolled: Type.Optional(Type.Integer()),
  'last-contact': Type.Optional(Type.Integer()),
  'enrolment-expires': Type.Optional(Type.Integer()),
  orders: Type.Optional(Type.Integer()),
});
const Enrolment = Type.Object({
  'auth-id': Type.String(),
  secret: Type.String(),
  expire: Type.Integer(),
  fingerprint: Type.String(),
});

/** Opens no connection yet. @throws `bad-argument` for a wrong address, or without a secret. */
export async function remoteNodes(
  options: CommonOptions,
  repository: string,
  signal: AbortSignal,
): Promise<NodeAdministration & { close(): Promise<void> }> {
  const { line } = await openLine(options, repository);
  const reading = { signal, patienceMs: LIST_PATIENCE_MS };
  const changing = { signal, patienceMs: 0 };
  return {
    list: async () => (await line.call('GET', '/config/node', undefined, Type.Array(Row), reading)).map(viewOf),
    get: async (name) => viewOf(await line.call('GET', pathOf(name), undefined, Row, reading)),
    add: async ({ node, user, lifetimeSeconds, renew }) => {
      const lifetime = lifetimeSeconds === undefined ? {} : { lifetime: lifetimeSeconds };
      const body = { name: node, renew, ...lifetime, ...(user !== undefined && { user }) };
      const made = await line.call('POST', '/config/node', body, Enrolment, changing);
      const { secret, expire, fingerprint } = made;
      return { node, tokenid: made['auth-id'] as AuthId, secret, expire, fingerprint };
    },
    remove: async (name) => void (await line.call('DELETE', pathOf(name), undefined, Type.Null(), changing)),
    close: async () => await line.close(),
  };
}

function pathOf(name: string): string {
  return `/config/node/${encodeURIComponent(name)}`;
}

function viewOf(row: Static<typeof Row>): NodeView {
  const { name, status, version, address, enrolled, orders } = row;
  return {
    name,
    status,
    authId: row['auth-id'],
    version,
    hostName: row['host-name'],
    address,
    enrolled,
    lastContact: row['last-contact'],
    enrolmentExpires: row['enrolment-expires'],
    orders,
  };
}
