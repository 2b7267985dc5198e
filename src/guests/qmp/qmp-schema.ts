// What a QEMU can do, from its own description (query-qmp-schema): a key that not every version has is sent only where it is listed.
// A type that is not listed counts as having nothing.
import { HoldfastError } from '../../util/errors.ts';

interface Entity {
  readonly name: string;
  readonly 'meta-type': string;
  readonly 'arg-type'?: string;
  readonly 'element-type'?: string;
  readonly tag?: string;
  readonly members?: readonly { readonly name?: string; readonly type: string }[];
  readonly variants?: readonly { readonly case: string; readonly type: string }[];
}

export class QmpSchema {
  readonly #entities: ReadonlyMap<string, Entity>;

  constructor(entities: readonly Entity[]) {
    this.#entities = new Map(entities.map((entity) => [entity.name, entity]));
  }

  hasCommand(name: string): boolean {
    return this.#entities.get(name)?.['meta-type'] === 'command';
  }

  /** Whether a command takes an argument; `a.b` goes into it, through lists, alternates and every variant. */
  hasArgument(command: string, path: string): boolean {
    const start = this.hasCommand(command) ? this.#entities.get(command)!['arg-type'] : undefined;
    return start !== undefined && this.#reaches([start], path.split('.'));
  }

  /** Whether `blockdev-add` of this driver takes a key (`a.b` goes into it); those that every driver takes count. */
  hasBlockdevOption(driver: string, key: string): boolean {
    const options = this.#entities.get(this.#entities.get('blockdev-add')?.['arg-type'] ?? '');
    const variant = options?.variants?.find((each) => each.case === driver);
    if (options === undefined || variant === undefined) return false;
    const [first, ...rest] = key.split('.');
    const common = options.members?.filter((member) => member.name === first).map((member) => member.type) ?? [];
    if (common.length > 0) return this.#reaches(common, rest);
    return this.#reaches([variant.type], [first, ...rest]);
  }

  #reaches(types: readonly string[], path: readonly string[]): boolean {
    if (path.length === 0) return true;
    const next = types.flatMap((type) => this.#members(type, path[0], new Set()));
    return next.length > 0 && this.#reaches([...new Set(next)], path.slice(1));
  }

  /** Types of the members called `name`. Alternates can hold lists of themselves. */
  #members(type: string, name: string, seen: Set<string>): string[] {
    const entity = this.#entities.get(type);
    if (entity === undefined || seen.has(type)) return [];
    seen.add(type);
    const into = (other: string) => this.#members(other, name, seen);
    if (entity['element-type'] !== undefined) return into(entity['element-type']);
    const members = entity.members ?? [];
    if (entity['meta-type'] === 'alternate') return members.flatMap((member) => into(member.type));
    const own = members.filter((member) => member.name === name).map((member) => member.type);
    return [...own, ...(entity.variants ?? []).flatMap((variant) => into(variant.type))];
  }
}

/** @throws `guest-failed` when this is no answer of query-qmp-schema */
export function readSchema(answer: unknown): QmpSchema {
  const isEntity = (each: unknown): each is Entity => {
    const entity = each as Partial<Record<keyof Entity, unknown>> | null;
    return typeof entity?.name === 'string' && typeof entity['meta-type'] === 'string';
  };
  if (!Array.isArray(answer) || !answer.every(isEntity))
    throw new HoldfastError('guest-failed', 'query-qmp-schema answered with what is no schema');
  return new QmpSchema(answer);
}
