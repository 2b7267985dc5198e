// Every method of the guest dialect has a description, bounded parameters, an answer and a rule; the OpenAPI document says the same; and no
// answer has a boolean or a member that could be null, which clients of this dialect cannot read.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TObject } from 'typebox';
import { GUEST_DIALECT } from '../../../src/api/guest/dialect.ts';
import { GUEST_METHODS } from '../../../src/api/guest/routes/methods.ts';
import { pathParameters, ruleOf } from '../../../src/api/method.ts';
import { describeApi } from '../../../src/api/openapi/describe-api.ts';
import { parseAclPath } from '../../../src/auth/acl-path.ts';
import { GUEST_PRIVILEGES } from '../../../src/auth/privileges.ts';
import { GuestRig } from './guest-rig.ts';

test('every method has a description, a schema of its parameters and its answer, and a rule of who may call it', () => {
  assert.ok(GUEST_METHODS.length > 80);
  const privileges: readonly string[] = GUEST_PRIVILEGES;
  for (const method of GUEST_METHODS) {
    const name = `${method.method} ${method.path}`;
    assert.match(method.description, /^[A-Z].{6,}\.$/s, name);
    assert.match(method.path, /^(\/([a-z0-9_-]+|\{[a-z-]+\}))+$/, name);
    const { properties, required = [] } = method.parameters as TObject;
    for (const inPath of pathParameters(method.path))
      assert.ok((required as string[]).includes(inPath), `${name}: ${inPath}`);
    assert.notEqual(JSON.stringify(method.returns), '{}', name);
    assert.doesNotMatch(JSON.stringify(method.returns), /"type":"boolean"/, name);
    const rule = ruleOf(method, Object.fromEntries(Object.keys(properties).map((each) => [each, '100'])));
    if (rule === undefined) {
      assert.ok('world' in method.access || 'auth' in method.access, name);
      continue;
    }
    assert.equal(parseAclPath(rule.path), rule.path, name);
    for (const privilege of rule.anyOf) assert.ok(privileges.includes(privilege), `${name}: ${privilege}`);
    assert.ok(rule.anyOf.length > 0, name);
  }
});

test('no method stands twice, and only what a signed-out client needs is for the world', () => {
  const names = GUEST_METHODS.map(({ method, path }) => `${method} ${path.replace(/\{[^}]+\}/g, '{}')}`);
  assert.equal(new Set(names).size, names.length);
  const world = GUEST_METHODS.filter(({ access }) => 'world' in access);
  assert.deepEqual(
    world.map(({ method, path }) => `${method} ${path}`),
    ['GET /access/ticket', 'POST /access/ticket', 'GET /access/domains'],
  );
});

test('texts of parameters are bounded, numbers are safe, and no schema is open', () => {
  for (const { method, path, parameters } of GUEST_METHODS) {
    for (const [name, schema] of Object.entries((parameters as TObject).properties)) {
      const inner = (schema as { type?: string; items?: object }).items ?? schema;
      const { type, maxLength, maximum, enum: choices } = inner as Record<string, unknown>;
      const place = `${method} ${path} ${name}`;
      if (Array.isArray(choices) || type === 'boolean') continue;
      if (type === 'string') assert.ok(typeof maxLength === 'number', place);
      else assert.ok(['integer', 'number'].includes(type as string) && typeof maximum === 'number', place);
      if ((schema as { type?: string }).type === 'array') assert.ok('maxItems' in schema, place);
    }
  }
});

test('the OpenAPI document has every method, and is served to everybody', async (t) => {
  const document = describeApi(GUEST_DIALECT, GUEST_METHODS, { version: '8.4.0', release: '8.4', repoid: 'abc' });
  const rig = await GuestRig.open(t);
  const served = (await rig.app.inject({ method: 'GET', url: '/api2/openapi.json' })).json() as {
    info: { title: string };
    components: object;
    paths: Record<string, Record<string, { operationId: string }>>;
  };
  assert.equal(served.info.title, 'Holdfast, guest dialect');
  assert.match(JSON.stringify(served.components), /PVEAPIToken=USER@REALM!NAME=SECRET/);
  const ids = Object.values(served.paths).flatMap((each) => Object.values(each).map(({ operationId }) => operationId));
  assert.equal(new Set(ids).size, ids.length);
  for (const { method, path } of GUEST_METHODS) {
    assert.ok(served.paths[`/api2/json${path}`]?.[method.toLowerCase()], `${method} ${path}`);
    assert.ok((document.paths as typeof served.paths)[`/api2/json${path}`], path);
  }
});
