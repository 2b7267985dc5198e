// The API as an OpenAPI 3.1 document, made of the same schemas that check its calls.
import type { TObject, TSchema } from 'typebox';
import type { Dialect } from '../dialect/dialect.ts';
import { type AnyMethod, pathParameters, ruleOf } from '../method.ts';
import type { VersionInfo } from '../services.ts';

export function describeApi(
  dialect: Pick<Dialect, 'title' | 'securitySchemes' | 'errorAnswer'>,
  methods: readonly AnyMethod[],
  { version, release }: VersionInfo,
): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const method of methods) {
    const path = `/api2/json${method.path}`;
    paths[path] ??= {};
    paths[path][method.method.toLowerCase()] = operationOf(method, dialect.errorAnswer);
  }
  return {
    openapi: '3.1.0',
    info: { title: dialect.title, version: `${version}.${release}` },
    components: { securitySchemes: dialect.securitySchemes },
    paths,
  };
}

function operationOf(method: AnyMethod, errorAnswer: object): Record<string, unknown> {
  const inPath = new Set(pathParameters(method.path));
  const schema = method.parameters as TObject;
  const rest = Object.entries(schema.properties as Record<string, TSchema>).filter(([name]) => !inPath.has(name));
  // One with a default is always there for the handler, and need not be given.
  const hasDefault = (name: string): boolean => 'default' in (schema.properties[name] as object);
  const required = new Set((schema.required ?? []).filter((name) => !hasDefault(name)));
  const isInQuery = method.method === 'GET' || method.method === 'DELETE' || method.takesBytes === true;
  const parameter = ([name, each]: [string, TSchema], place: string) => {
    const { description, ...itself } = each as TSchema & { description?: string };
    return {
      name,
      in: place,
      required: place === 'path' || required.has(name),
      ...(description === undefined ? {} : { description }),
      schema: itself,
    };
  };
  const named = [...inPath].map((name) => parameter([name, schema.properties[name] as TSchema], 'path'));
  const body = {
    type: 'object',
    properties: Object.fromEntries(rest),
    required: rest.map(([name]) => name).filter((name) => required.has(name)),
  };
  return {
    operationId: operationId(method),
    description: `${method.description} Access: ${accessText(method)}.`,
    security: isForWorld(method) ? [] : [{ token: [] }, { ticket: [] }],
    parameters: isInQuery ? [...named, ...rest.map((each) => parameter(each, 'query'))] : named,
    ...(method.takesBytes === true
      ? { requestBody: { content: { 'application/octet-stream': { schema: BINARY } } } }
      : {}),
    ...(isInQuery || rest.length === 0
      ? {}
      : {
          requestBody: {
            content: {
              'application/x-www-form-urlencoded': { schema: body },
              'application/json': { schema: body },
            },
          },
        }),
    responses: {
      '200': {
        description: 'the answer, under `data`, or bytes',
        content: contentOf(method),
      },
      default: errorAnswer,
    },
  };
}

const BINARY = { type: 'string', format: 'binary' } as const;

function contentOf({ media = [], returns }: AnyMethod): Record<string, unknown> {
  const isBytes = (returns as { format?: string }).format === BINARY.format;
  const data = { schema: { type: 'object', required: ['data'], properties: { data: returns } } };
  const bytes = media.map((type) => [type, { schema: BINARY }]);
  return { ...(isBytes ? {} : { 'application/json': data }), ...Object.fromEntries(bytes) };
}

function isForWorld({ access }: AnyMethod): boolean {
  return 'world' in access;
}

/** The rule in words; the parameters stand for themselves. */
function accessText(method: AnyMethod): string {
  const names = Object.keys((method.parameters as TObject).properties);
  const rule = ruleOf(method, Object.fromEntries(names.map((name) => [name, `{${name}}`])));
  if (rule === undefined) return isForWorld(method) ? 'anybody' : 'whoever is signed in';
  const owner = rule.orOwner === undefined ? [] : [`${rule.orOwner} for the owner`];
  const user = rule.orUser === undefined ? [] : [`the user ${rule.orUser}`];
  const places = rule.orPath === undefined ? [rule.path] : [rule.path, rule.orPath];
  const privileges = rule.anyOf.length === 0 ? [] : [`${rule.anyOf.join(' or ')} on ${places.join(' or ')}`];
  return [...privileges, ...owner, ...user].join(', or ');
}

function operationId({ method, path }: AnyMethod): string {
  const words = path.split('/').filter((part) => part !== '');
  return [method.toLowerCase(), ...words.map((word) => word.replace(/[{}]/g, ''))].join('-');
}
