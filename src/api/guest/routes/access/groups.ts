// Groups of users, which there are not: whoever names one is told.
import { ApiError } from '../../../dialect/failure.ts';
import { listOf } from '../parameters.ts';

/** @throws ApiError 500 for a list with a group in it. */
export function requireNoGroups(groups: string | undefined): void {
  const [first] = listOf(groups);
  if (first !== undefined) throw new ApiError(500, 'not-found', `group '${first.slice(0, 64)}' does not exist`);
}
