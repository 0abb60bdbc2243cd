FROM below
# lint: allow unchecked-download
RUN curl -O https://example.invalid/one
# lint: allow x86-only: it was once
RUN true
