// Targets of one type out of all: over its own path each type looks as if there was no other.
import type { TargetConfig } from '../../../../notify/target-config.ts';
import { HoldfastError } from '../../../../util/errors.ts';
import type { Kept } from './named-methods.ts';

export interface TargetsOf<Target extends TargetConfig> extends Kept<Target> {
  /** @throws `not-found` for one of another type. */
  require(target: TargetConfig): Target;
}

/** `what` they are, for the error about one that is none. */
export function targetsOf<Kind extends TargetConfig['type']>(
  type: Kind,
  what: string,
): TargetsOf<Extract<TargetConfig, { type: Kind }>> {
  type Target = Extract<TargetConfig, { type: Kind }>;
  const isOne = (target: TargetConfig): target is Target => target.type === type;
  const require = (target: TargetConfig): Target => {
    if (isOne(target)) return target;
    throw new HoldfastError('not-found', `target ${target.name} is no ${what}`);
  };
  return {
    require,
    list: (config) => config.targets().filter(isOne),
    find: (config, name) => require(config.target(name)),
    remove: (config, who, name) => {
      require(config.target(name));
      config.removeTarget(who, name);
    },
  };
}
