FROM below
ARG TARGETARCH
ARG GIT_COMMIT=unknown
COPY . /src
RUN make --directory=/src
ARG BUILD_DATE
LABEL built=${BUILD_DATE}
