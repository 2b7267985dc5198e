// What a backup leaves out: patterns of the command line, and of .holdfastexclude files in the tree. The command line has the last word,
// then the file in the deepest directory; within one of them the last pattern that matches. Nothing is remembered of the paths asked about.
import { type ByteString, display, fromText } from '../../../util/byte-string.ts';
import { HoldfastError } from '../../../util/errors.ts';
import { BadPattern, matchesPath, type PathPattern, parsePattern, patternOfLine } from './path-pattern.ts';

/** Its patterns hold in the directory where it lies and below. It is backed up itself. */
export const EXCLUDE_FILE = '.holdfastexclude' as ByteString;

/** Of a larger exclude file nothing is used. */
export const MAX_EXCLUDE_FILE_BYTES = 64 * 1024;

/** Most patterns that hold at one place, of all sources: each path is compared with each of them. */
export const MAX_PATTERNS = 4096;

/** Patterns by name. vzdump: what Proxmox VE leaves out of containers unless told otherwise (vzdump, option stdexcludes). */
export const EXCLUDE_PRESETS: Readonly<Record<string, readonly string[]>> = {
  vzdump: ['/tmp/?*', '/var/tmp/?*', '/var/run/?*.pid'],
};

/** The patterns of a preset. @throws HoldfastError `bad-argument` for an unknown name. */
export function excludePreset(name: string): readonly string[] {
  const patterns = Object.hasOwn(EXCLUDE_PRESETS, name) ? EXCLUDE_PRESETS[name] : undefined;
  if (patterns !== undefined) return patterns;
  const known = Object.keys(EXCLUDE_PRESETS).join(', ');
  throw new HoldfastError('bad-argument', `no exclude preset is called ${name}; there is: ${known}`);
}

/** Patterns of one place, as text and read. */
interface Source {
  /** Where it holds, in components from the top. */
  readonly depth: number;
  readonly texts: readonly ByteString[];
  readonly patterns: readonly PathPattern[];
}

/** Rules in a form that crosses to a worker thread. */
export interface ExcludeRulesJson {
  readonly sources: readonly { readonly depth: number; readonly texts: readonly string[] }[];
}

/** The rules that hold in one directory. They never change: `within` makes others. */
export class ExcludeRules {
  /** In the order of their say: the command line, then the files, that of the deepest directory first. */
  readonly #sources: readonly [Source, ...Source[]];
  readonly #patternCount: number;

  private constructor(sources: readonly [Source, ...Source[]]) {
    this.#sources = sources;
    this.#patternCount = sources.reduce((sum, { patterns }) => sum + patterns.length, 0);
  }

  /**
   * The rules of the command line, at the top of a tree.
   * @throws HoldfastError `bad-argument` for a pattern that is none, `too-many` for more than 4,096.
   */
  static compile(patterns: readonly string[]): ExcludeRules {
    if (patterns.length > MAX_PATTERNS)
      throw new HoldfastError('too-many', `${patterns.length} exclude patterns are more than ${MAX_PATTERNS}`);
    const texts = patterns.map((pattern) => fromText(pattern));
    const parsed = texts.map((text, place) => {
      try {
        return parsePattern(text);
      } catch (error) {
        if (!(error instanceof BadPattern)) throw error;
        const what = `the exclude pattern ${JSON.stringify(patterns[place])}`;
        throw new HoldfastError('bad-argument', `${what} can match nothing: ${error.message}`);
      }
    });
    return new ExcludeRules([{ depth: 0, texts, patterns: parsed }]);
  }

  static fromJSON({ sources }: ExcludeRulesJson): ExcludeRules {
    const read = sources.map(({ depth, texts }) => ({
      depth,
      texts: texts as readonly ByteString[],
      patterns: (texts as readonly ByteString[]).map((text) => parsePattern(text)),
    }));
    return new ExcludeRules(read as unknown as [Source, ...Source[]]);
  }

  toJSON(): ExcludeRulesJson {
    return { sources: this.#sources.map(({ depth, texts }) => ({ depth, texts })) };
  }

  get isEmpty(): boolean {
    return this.#patternCount === 0;
  }

  /**
   * Whether an entry is left out, an excluded directory with all that is in it: the caller must not ask about, or enter, what lies
   * below one. `path` goes from the top, without a slash at its start; the top itself (the empty path) is never excluded.
   */
  excludes(path: ByteString, isDirectory: boolean): boolean {
    if (this.isEmpty || path === '') return false;
    const components = path.split('/');
    for (const { depth, patterns } of this.#sources) {
      for (let place = patterns.length - 1; place >= 0; place--) {
        const pattern = patterns[place] as PathPattern;
        if (matchesPath(pattern, components, depth, isDirectory)) return !pattern.isNegated;
      }
    }
    return false;
  }

  /**
   * The rules for what is in `directory`, which has an exclude file with the bytes `fileText`. What is wrong with the file excludes
   * nothing and is told to `warn`: a mistake in one directory must not cost the backup of the others.
   */
  within(directory: ByteString, fileText: ByteString, warn: (message: string) => void): ExcludeRules {
    const file = display((directory === '' ? EXCLUDE_FILE : `${directory}/${EXCLUDE_FILE}`) as ByteString);
    if (fileText.length > MAX_EXCLUDE_FILE_BYTES) {
      warn(`${file} is not used: it is larger than ${MAX_EXCLUDE_FILE_BYTES} bytes`);
      return this;
    }
    const texts: ByteString[] = [];
    const patterns: PathPattern[] = [];
    for (const [place, line] of linesOf(fileText).entries()) {
      try {
        const text = patternOfLine(line);
        if (text === undefined) continue;
        patterns.push(parsePattern(text));
        texts.push(text);
      } catch (error) {
        if (!(error instanceof BadPattern)) throw error;
        warn(`line ${place + 1} of ${file} excludes nothing: ${error.message}`);
      }
    }
    if (this.#patternCount + patterns.length > MAX_PATTERNS) {
      warn(`${file} is not used: with it, more than ${MAX_PATTERNS} patterns would hold in its directory`);
      return this;
    }
    if (patterns.length === 0) return this;
    const depth = directory === '' ? 0 : directory.split('/').length;
    const [commandLine, ...files] = this.#sources;
    return new ExcludeRules([commandLine, { depth, texts, patterns }, ...files]);
  }
}

/** Lines end with LF or CR LF; a byte order mark at the start is none of the first. */
function linesOf(text: string): ByteString[] {
  const withoutMark = text.startsWith('\xef\xbb\xbf') ? text.slice(3) : text;
  return withoutMark.split(/\r?\n/) as ByteString[];
}
