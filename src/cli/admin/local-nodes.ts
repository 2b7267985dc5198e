// Hosts with an agent on the server's machine, as root@pam. Who is connected only the server knows.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { loadCertificate } from '../../daemon/certificate.ts';
import { hostNames } from '../../daemon/host-names.ts';
import { Enrolments, noSuchNode } from '../../nodes/enrolments.ts';
import type { EnrolmentRecord, NodeRecord } from '../../nodes/node-store.ts';
import { nodeTables } from '../../state/node-tables.ts';
import type { NodeAdministration, NodeView } from './node-administration.ts';
import type { OpenState } from './server-state.ts';

export async function localNodes({
  directory,
  state,
  stores,
  services,
  actor,
}: OpenState): Promise<NodeAdministration> {
  const store = nodeTables(state.db);
  const enrolments = new Enrolments({
    store,
    access: services.access,
    tokens: stores.tokens,
    throttle: services.throttle,
    audit: stores.audit,
    failures: services.failures,
    transactions: state,
    clock: Date.now,
    ownNames: hostNames(),
  });
  return {
    list: async () => {
      const waiting = new Map(store.enrolments().map((each) => [each.node, each]));
      const nodes = store.list();
      const known = new Set(nodes.map(({ name }) => name));
      const pending = [...waiting.values()].filter(({ node }) => !known.has(node));
      return [...nodes.map((node) => viewOf(node, waiting.get(node.name))), ...pending.map(pendingView)];
    },
    get: async (name) => {
      const [node, enrolment] = [store.find(name), store.enrolment(name)];
      if (node !== undefined) return viewOf(node, enrolment);
      if (enrolment === undefined) throw noSuchNode(name);
      return pendingView(enrolment);
    },
    add: async ({ node, user, lifetimeSeconds, renew }) => {
      const lifetimeMs = lifetimeSeconds === undefined ? undefined : lifetimeSeconds * 1000;
      const made = enrolments.add(actor, { node, user, lifetimeMs, renew });
      const fingerprint = await ownFingerprint(directory);
      return {
        node,
        tokenid: made.tokenid,
        secret: made.secret,
        expire: Math.floor(made.expireMs / 1000),
        fingerprint,
      };
    },
    remove: async (name) => enrolments.remove(actor, name),
  };
}

/** Of the certificate that the server made for itself; a server may have been given another one. */
async function ownFingerprint(directory: string): Promise<string | undefined> {
  const paths = { certificate: join(directory, 'server.crt'), key: join(directory, 'server.key') };
  return existsSync(paths.certificate) ? (await loadCertificate(paths)).fingerprint : undefined;
}

function viewOf(node: NodeRecord, enrolment: EnrolmentRecord | undefined): NodeView {
  return {
    name: node.name,
    status: 'unknown',
    authId: node.authId,
    version: node.version || undefined,
    hostName: node.hostName,
    address: node.address,
    enrolled: Math.floor(node.enrolledMs / 1000),
    lastContact: Math.floor(node.lastContactMs / 1000),
    enrolmentExpires: enrolment === undefined ? undefined : Math.floor(enrolment.expireMs / 1000),
  };
}

function pendingView({ node, expireMs }: EnrolmentRecord): NodeView {
  return { name: node, status: 'unknown', enrolmentExpires: Math.floor(expireMs / 1000) };
}
