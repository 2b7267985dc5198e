// Every method has what the tables of the API promise: a schema, an access rule and a description; and the OpenAPI document says the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TObject } from 'typebox';
import { BACKUP_DIALECT } from '../../src/api/dialect/backup-dialect.ts';
import { pathParameters, ruleOf } from '../../src/api/method.ts';
import { describeApi } from '../../src/api/openapi/describe-api.ts';
import { METHODS } from '../../src/api/routes/methods.ts';
import { PRIVILEGES } from '../../src/auth/privileges.ts';
import { ApiRig } from './rig.ts';

const VERSION = { version: '1.0', release: '2', repoid: 'abc' };

test('every method has a description, a schema of its parameters and its answer, and a rule of who may call it', () => {
  assert.ok(METHODS.length > 60);
  for (const method of METHODS) {
    const name = `${method.method} ${method.path}`;
    assert.match(method.description, /^[A-Z].{6,}\.$/s, name);
    assert.match(method.path, /^(\/([a-z0-9-]+|\{[a-z-]+\}))+$/, name);
    const { type, properties } = method.parameters as TObject;
    assert.equal(type, 'object', name);
    assert.notEqual(JSON.stringify(method.returns), '{}', name);
    for (const inPath of pathParameters(method.path)) {
      assert.ok(properties[inPath] !== undefined, `${name}: ${inPath} of the path has a schema`);
      assert.ok((method.parameters as TObject).required?.includes(inPath), `${name}: ${inPath} is required`);
    }
    const rule = ruleOf(method, Object.fromEntries(Object.keys(properties).map((each) => [each, 'x'])));
    if (rule === undefined) {
      assert.ok('world' in method.access || 'auth' in method.access, name);
      continue;
    }
    assert.match(rule.path, /^\//, name);
    for (const privilege of [...rule.anyOf, ...(rule.orOwner === undefined ? [] : [rule.orOwner])])
      assert.ok(PRIVILEGES.includes(privilege), `${name}: ${privilege}`);
    assert.ok(rule.anyOf.length > 0 || rule.orUser === 'root@pam', name);
  }
});

test('no method stands twice, and only what a signed-out client needs is for the world', () => {
  const names = METHODS.map(({ method, path }) => `${method} ${path.replace(/\{[^}]+\}/g, '{}')}`);
  assert.equal(new Set(names).size, names.length);
  const world = METHODS.filter(({ access }) => 'world' in access);
  assert.deepEqual(
    world.map(({ method, path }) => `${method} ${path}`),
    [
      'GET /ping',
      'POST /access/ticket',
      'DELETE /access/ticket',
      'GET /access/domains',
      'POST /nodes/{node}/enrolment',
    ],
  );
});

test('texts of parameters are bounded, numbers are safe, and no schema is open', () => {
  for (const { method, path, parameters } of METHODS) {
    for (const [name, schema] of Object.entries((parameters as TObject).properties)) {
      const inner = (schema as { type?: string; items?: object }).items ?? schema;
      const { type, maxLength, pattern, enum: choices } = inner as Record<string, unknown>;
      const place = `${method} ${path} ${name}`;
      if (type === 'string') {
        const isFixed = typeof pattern === 'string' && /\{\d+\}\$$/.test(pattern);
        assert.ok(typeof maxLength === 'number' || isFixed, place);
      } else assert.ok(['boolean', 'integer', 'object'].includes(type as string) || Array.isArray(choices), place);
      if ((schema as { type?: string }).type === 'array') assert.ok('maxItems' in schema, place);
    }
  }
});

test('the OpenAPI document has every method, each parameter once, and can be read by everybody', async () => {
  const document = describeApi(BACKUP_DIALECT, METHODS, VERSION) as {
    openapi: string;
    paths: Record<
      string,
      Record<
        string,
        {
          operationId: string;
          description: string;
          parameters: { name: string; in: string; required: boolean }[];
          requestBody?: { content: Record<string, { schema: { properties: object } }> };
          responses: object;
        }
      >
    >;
  };
  assert.equal(document.openapi, '3.1.0');
  const ids = new Set<string>();
  for (const { method, path, parameters } of METHODS) {
    const operation = document.paths[`/api2/json${path}`]?.[method.toLowerCase()];
    assert.ok(operation, `${method} ${path}`);
    assert.ok(!ids.has(operation.operationId), operation.operationId);
    ids.add(operation.operationId);
    assert.match(operation.description, /Access: .+\.$/s);
    const inBody = Object.keys(operation.requestBody?.content['application/json']?.schema.properties ?? {});
    const named = [...operation.parameters.map(({ name }) => name), ...inBody].sort();
    assert.deepEqual(named, Object.keys((parameters as TObject).properties).sort());
    assert.deepEqual(
      operation.parameters.filter((each) => each.in === 'path').map(({ name }) => name),
      pathParameters(path),
    );
    for (const { name, required } of operation.parameters) {
      const hasDefault = 'default' in ((parameters as TObject).properties[name] as object);
      const isRequired = ((parameters as TObject).required ?? []).includes(name);
      assert.equal(required, isRequired && !hasDefault, `${method} ${path} ${name}`);
    }
    assert.ok('200' in operation.responses && 'default' in operation.responses);
  }
  const rig = new ApiRig();
  try {
    for (const url of ['/api2/openapi.json', '/api2/json/openapi.json']) {
      const served = await rig.app.inject({ method: 'GET', url });
      assert.equal(served.statusCode, 200);
      const { paths } = served.json() as { paths: Record<string, unknown> };
      for (const path of Object.keys(document.paths)) assert.ok(path in paths, path);
    }
  } finally {
    await rig.close();
  }
});
