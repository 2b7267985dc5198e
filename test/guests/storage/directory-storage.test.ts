import { openDirectoryStorage } from '../../../src/guests/storage/directory-storage.ts';
import { CONTENT_TYPES } from '../../../src/guests/storage/storage.ts';
import { testStorage } from './contract.ts';

testStorage({
  type: 'dir',
  fileSystem: 'ext4',
  smallBytes: 40 << 20,
  open: (path, id = 'store') =>
    openDirectoryStorage({
      id,
      type: 'dir',
      path,
      content: id === 'isos' ? ['iso'] : CONTENT_TYPES,
      mountPoint: undefined,
      createsPath: true,
    }),
});
