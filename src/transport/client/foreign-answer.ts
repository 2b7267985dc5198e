// Answers that are none of a Holdfast server, or of another version, as errors that name the server and say what to do.
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { HoldfastError } from '../../util/errors.ts';
import { hasShape } from '../../util/schema-check.ts';

/** A schema may name many members. */
const MAX_REASON = 120;

/** `server` is its origin, `what` the call, `how` what was wrong of the answer. */
export function foreignAnswer(server: string, what: string, how: string): HoldfastError {
  return new HoldfastError(
    'protocol-failed',
    `${server} answered ${what} with ${how}, not as a Holdfast server of this version does: look at host and port of the address, at proxies between, and at the server's version`,
    { data: { server } },
  );
}

/** Returns the value, when it has the shape. `what` names the call, `chars` is its length as JSON, about. @throws `protocol-failed`. */
export function checkedAnswer<Schema extends TSchema>(
  server: string,
  what: string,
  value: unknown,
  schema: Schema,
  chars: number,
): Static<Schema> {
  if (hasShape(schema, value, chars)) return value;
  const [first] = Value.Errors(schema, value);
  const member = first?.instancePath ? `its member ${first.instancePath}` : 'it';
  throw foreignAnswer(
    server,
    what,
    `JSON of another form (${member} ${(first?.message ?? 'is wrong').slice(0, MAX_REASON)})`,
  );
}

/** What a text is that is no JSON, in words: a whole page would fill the terminal. */
export function describeText(text: string): string {
  const said = text.trim();
  if (said === '') return 'nothing';
  if (/^<(!doctype|html|\?xml|head|body|title)/i.test(said)) return titleOf(said);
  if (/^[{["]/.test(said)) return 'JSON that is cut off or wrong';
  const shown = said.slice(0, 100).replace(/\p{Cc}+/gu, ' ');
  return `'${shown}${said.length > 100 ? '…' : ''}'`;
}

function titleOf(page: string): string {
  const [, title = ''] = /<title>([^<]{1,100})/i.exec(page.slice(0, 4096)) ?? [];
  const words = title.replace(/[\p{Cc}\s]+/gu, ' ').trim();
  return words === '' ? 'a page of HTML' : `a page of HTML (${words})`;
}
