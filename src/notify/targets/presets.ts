// Webhooks of services that many have, so that nobody has to write their templates.
import { HoldfastError } from '../../util/errors.ts';
import type { WebhookConfig } from '../target-config.ts';

export const PRESETS = ['ntfy', 'gotify', 'slack', 'ping'] as const;
export type Preset = (typeof PRESETS)[number];
type Fields = Pick<WebhookConfig, 'url' | 'method' | 'headers' | 'body'>;

interface PresetWish {
  /** Where it is; of Slack and of a ping the address is the secret. */
  readonly url: string;
  readonly token?: string | undefined;
}

/** Fields of a webhook, and its secrets. @throws `bad-argument`. */
export function presetOf(preset: Preset, { url, token }: PresetWish): Fields & { secrets: Record<string, string> } {
  switch (preset) {
    case 'ntfy':
      return {
        url,
        method: 'post',
        headers: [
          { name: 'Title', value: '{{title}}' },
          { name: 'Priority', value: '{{priority}}' },
          { name: 'Tags', value: '{{severity}},{{type}}' },
          ...(token === undefined ? [] : [{ name: 'Authorization', value: 'Bearer {{secrets.token}}' }]),
        ],
        body: '{{message}}',
        secrets: token === undefined ? {} : { token },
      };
    case 'gotify':
      if (token === undefined) throw new HoldfastError('bad-argument', 'Gotify needs the token of an application');
      return {
        url: `${url.replace(/\/+$/, '')}/message`,
        method: 'post',
        headers: [{ name: 'X-Gotify-Key', value: '{{secrets.token}}' }],
        body: '{"title": {{json title}}, "message": {{json message}}, "priority": {{priority}}}',
        secrets: { token },
      };
    case 'slack':
      return {
        url: '{{secrets.url}}',
        method: 'post',
        headers: [],
        body: '{"text": "*{{escape title}}*\\n{{escape message}}"}',
        secrets: { url },
      };
    case 'ping':
      // Whoever waits for it raises the alarm when it stays away.
      return { url: '{{secrets.url}}', method: 'get', headers: [], body: '', secrets: { url } };
  }
}
