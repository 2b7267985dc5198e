// What a server cannot save: taking the records off TLS, decompressing them, hashing what they hold. Measured with small programs, one thread each.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { generate } from 'selfsigned';
import { compressForRestore } from '../floor.ts';
import { measure } from '../measure.ts';
import { runPlain } from '../stores.ts';
import { type Workspace, warm } from '../workspace.ts';

const RECEIVER = fileURLToPath(new URL('tls-receiver.mjs', import.meta.url));
const SLICE_BYTES = 256 * 1024;

export interface ServerFloor {
  readonly cpuS: number;
  /** Each part in seconds, as text. */
  readonly parts: string;
}

/** The floor for records of so many bytes that hold the bytes of `data`. */
export async function serverFloor(workspace: Workspace, data: string, recordBytes: number): Promise<ServerFloor> {
  const compressed = workspace.path('floor.zst');
  runPlain(compressForRestore(data, compressed));
  warm([compressed]);
  const decompress = await measure({ argv: ['zstd', '-d', '-q', '-f', compressed, '-o', '/dev/null'] });
  warm([data]);
  const hash = await measure({ argv: ['b3sum', '--num-threads', '1', data] });
  const receiveS = await receiveCpuS(workspace, recordBytes);
  const [unpackS, hashS] = [decompress.usage.cpuS, hash.usage.cpuS];
  workspace.remove('floor.zst');
  return {
    cpuS: unpackS + hashS + receiveS,
    parts: `zstd -d ${unpackS.toFixed(2)} + b3sum ${hashS.toFixed(2)} + TLS ${receiveS.toFixed(2)}`,
  };
}

/** CPU of a program that receives so many bytes over one connection and throws them away. */
async function receiveCpuS(workspace: Workspace, bytes: number): Promise<number> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'floor' }], { algorithm: 'sha256' });
  const path = workspace.path('floor.json');
  writeFileSync(path, JSON.stringify({ cert, key }));
  const receiver = spawn(process.execPath, [RECEIVER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(receiver.stdout, 'data')) as [Buffer];
  const sender = spawn(
    process.execPath,
    [RECEIVER, '--send', String(line).trim(), String(bytes), String(SLICE_BYTES)],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  const [said] = (await once(receiver.stdout, 'data')) as [Buffer];
  await once(sender, 'close');
  const { bytes: received, cpuS } = JSON.parse(String(said)) as { bytes: number; cpuS: number };
  if (received !== bytes) throw new Error(`the receiver got ${received} of ${bytes} bytes`);
  return cpuS;
}
