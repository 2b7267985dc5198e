// holder.json: who holds, or last held, a datastore, and the epoch that every open for writing raises (rule B5).
import { hostname } from 'node:os';
import { HolderRecord } from '../schema/state-files.ts';
import { readIfPresent, writeFileAtomic } from '../util/atomic-file.ts';
import { HoldfastError } from '../util/errors.ts';
import { JsonShapeError, parseJson } from '../util/json-file.ts';
import type { Layout } from './layout.ts';

/** Raises the epoch durably and writes this process down as the holder. Called with the lock held. @throws `datastore-damaged`. */
export async function raiseEpoch(layout: Layout): Promise<number> {
  const text = await readIfPresent(layout.holder);
  let last = 0;
  try {
    if (text !== undefined) last = parseJson(text, HolderRecord).epoch;
  } catch (error) {
    if (!(error instanceof JsonShapeError)) throw error;
    throw new HoldfastError(
      'datastore-damaged',
      `${layout.holder} is damaged (${error.message}); restore it, or write {"epoch":N,"pid":0,"host":"","started":""} with N above every epoch used`,
      { cause: error },
    );
  }
  const record: HolderRecord = {
    epoch: last + 1,
    pid: process.pid,
    host: hostname(),
    started: new Date().toISOString(),
  };
  await writeFileAtomic(layout.holder, `${JSON.stringify(record)}\n`);
  return record.epoch;
}

/** The error of somebody who finds the lock taken; it says by whom. */
export async function lockedError(layout: Layout): Promise<HoldfastError> {
  const text = await readIfPresent(layout.holder).catch(() => undefined);
  let holder = 'another process';
  try {
    if (text !== undefined) {
      const record = parseJson(text, HolderRecord);
      holder = `process ${record.pid} on ${record.host} (since ${record.started})`;
    }
  } catch {
    // The lock itself is what counts; who has it is only for the message.
  }
  return new HoldfastError(
    'datastore-locked',
    `${layout.root} is in use by ${holder}; wait until it ends, or stop it: the lock goes with the process`,
    {
      data: { holder },
    },
  );
}
