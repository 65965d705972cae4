-- What document-processing writes. Run it once in the project's database: the SQL editor, psql, or as a migration of the Supabase CLI.
-- It may be run again: what is there stays.

create table if not exists public.documents (
  client_id text not null,
  task_id text not null,
  source text not null,
  type text not null,
  bytes bigint not null,
  -- null for documents without pages
  pages integer,
  characters integer not null,
  warnings jsonb not null default '[]',
  -- null where no model was asked
  analysis jsonb,
  model text,
  input_tokens bigint,
  output_tokens bigint,
  cost_usd numeric,
  result_url text not null,
  processed_at timestamptz not null,
  primary key (client_id, task_id)
);

-- The text, page by page; a document without pages is page 1. Written before the row of its document: where that is, all pages are.
create table if not exists public.document_pages (
  client_id text not null,
  task_id text not null,
  page integer not null,
  text text not null,
  primary key (client_id, task_id, page)
);

-- No one but the service role sees them until policies say otherwise.
alter table public.documents enable row level security;
alter table public.document_pages enable row level security;
