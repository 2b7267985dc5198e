// Events and matchers with what every test needs of them.
import type { NotifyEvent } from '../../src/notify/event.ts';
import type { Matcher } from '../../src/notify/matcher.ts';

export const NOW = Date.parse('2026-11-22T01:30:00Z') / 1000;

export function event(more: Partial<NotifyEvent> = {}): NotifyEvent {
  return {
    type: 'gc',
    severity: 'error',
    time: NOW,
    node: 'backup1',
    subject: 'garbage collection of main failed',
    text: 'line one\nline two',
    fields: { datastore: 'main' },
    ...more,
  };
}

export function matcher(more: Partial<Matcher> = {}): Matcher {
  return {
    name: 'm',
    enabled: true,
    mode: 'all',
    invert: false,
    severity: [],
    field: [],
    calendar: [],
    targets: ['mail'],
    ...more,
  };
}
