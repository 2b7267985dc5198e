// The path of a request before it is routed: doubled and trailing slashes go, and what could climb out of a name is refused.
import { ApiError } from './failure.ts';

export const MAX_PATH_BYTES = 3072;

/** `//api2/json//version/?a` -> `/api2/json/version?a`. */
export function collapseSlashes(url: string): string {
  const cut = url.indexOf('?');
  const path = cut < 0 ? url : url.slice(0, cut);
  const collapsed = `/${path
    .split('/')
    .filter((part) => part !== '')
    .join('/')}`;
  return cut < 0 ? collapsed : collapsed + url.slice(cut);
}

/** @throws ApiError 414 for one that is too long, 400 for a part that begins with a dot, as it stands or decoded. */
export function checkPath(url: string): void {
  if (Buffer.byteLength(url) > MAX_PATH_BYTES) {
    throw new ApiError(414, 'too-large', `the path and query are longer than ${MAX_PATH_BYTES} bytes`);
  }
  const [path = ''] = url.split('?', 1);
  for (const part of path.split('/')) {
    if (decoded(part).split('/').some(startsWithDot)) {
      throw new ApiError(400, 'bad-name', 'invalid path: a component begins with a dot');
    }
  }
}

function startsWithDot(part: string): boolean {
  return part.startsWith('.');
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new ApiError(400, 'bad-name', 'invalid path: it is not percent-encoded UTF-8');
  }
}
