/** Registers the data sets that come with the package. */
import { openImdb } from './imdb/imdb.ts';
import { readCsv } from './csv.ts';
import { readJsonl } from './jsonl.ts';
import { ownFilesOpener } from './own-files.ts';
import { openQuickstart } from './quickstart.ts';
import { registerTextSource } from './text-splits.ts';

registerTextSource('quickstart', openQuickstart);
registerTextSource('imdb', openImdb);
registerTextSource('jsonl', ownFilesOpener('jsonl', ['.jsonl', '.ndjson'], readJsonl));
registerTextSource('csv', ownFilesOpener('csv', ['.csv', '.tsv'], readCsv));
