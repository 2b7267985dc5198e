// How much the crash tests do, and with which seed: a little in CI, ten times as much in `npm run soak`.

export interface CrashPlan {
  /** Kills and cuts for each path. */
  readonly kills: number;
  readonly cuts: number;
  readonly seed: number;
}

/** What CI runs; HOLDFAST_CRASH_SEED and HOLDFAST_CRASH_SCALE change it. */
export function ciPlan(): CrashPlan {
  const scale = Number(process.env.HOLDFAST_CRASH_SCALE ?? 1);
  return {
    kills: Math.ceil(20 * scale),
    cuts: Math.ceil(30 * scale),
    seed: Number(process.env.HOLDFAST_CRASH_SEED ?? 1),
  };
}

export const soakPlan = (seed: number, scale = 1): CrashPlan => ({
  kills: Math.ceil(200 * scale),
  cuts: Math.ceil(300 * scale),
  seed,
});

/** One thing that went wrong, with what is needed to see it again. */
export interface Finding {
  readonly path: string;
  readonly point: string;
  readonly seed: number;
  readonly error: string;
}

export interface PathReport {
  readonly path: string;
  readonly passed: number;
  readonly findings: readonly Finding[];
  /** What happened, in words: how many kills hit, at which calls. */
  readonly notes: string;
}

export function describeFindings(report: PathReport): string {
  const lines = report.findings.slice(0, 5).map((each) => `  ${each.point}: ${each.error}`);
  const seed = report.findings[0]?.seed;
  return [`${report.path}: ${report.findings.length} failed, ${report.passed} passed (seed ${seed})`, ...lines].join(
    '\n',
  );
}
