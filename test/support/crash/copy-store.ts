// A copy of a store at the cost of its small files: sealed packs never change, so they are linked.
import { copyFileSync, linkSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** `to` does not exist yet and lies on the same file system. Nobody holds `from`. */
export function copyStore(from: string, to: string): void {
  mkdirSync(to);
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) copyStore(source, target);
    else if (entry.name.endsWith('.pack')) linkSync(source, target);
    else copyFileSync(source, target);
  }
}
