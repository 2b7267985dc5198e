// How long a test that tries at random goes on: by the work it did, so that a busy machine does not make it try less.

/** Of its seconds a process with a core to itself spends so much computing. */
const BUSY_SHARE = 0.9;
/** On a machine that gives less than a third of a core it ends all the same. */
const MOST_TIMES = 3;

/** Says, again and again, whether this process has still to go on: until `seconds` have passed and it has computed for nearly as long. */
export function workFor(seconds: number): () => boolean {
  const startedMs = performance.now();
  const before = process.cpuUsage();
  return () => {
    const passed = (performance.now() - startedMs) / 1000;
    const { user, system } = process.cpuUsage(before);
    return passed < seconds || ((user + system) / 1e6 < seconds * BUSY_SHARE && passed < seconds * MOST_TIMES);
  };
}
